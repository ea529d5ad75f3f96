"""The head as one would write it with torch alone, sampled as Partial FC samples.

Our head is compared with it where the peer's code is not there.
"""

import torch
from subject import HeadSubject
from torch import Tensor, nn
from torch.nn import functional
from work import LEARNING_RATE, MARGIN, MOMENTUM, SCALE, WEIGHT_DECAY

import partialfc
from partialfc.head.sampling import sample_rows

NAME = "dense twin"


class DenseTwin(HeadSubject):
    """One [C, D] parameter with a dense gradient, F.cross_entropy, torch.optim.SGD; one process."""

    def build(self) -> None:
        work = self.work
        assert work.processes == 1
        assert work.compute == work.storage == work.momentum == torch.float32
        self.weight = nn.Parameter(torch.empty(work.classes, work.embedding, device=self.device))
        nn.init.normal_(self.weight, std=0.01)
        self.margin = partialfc.ArcFace(scale=SCALE, margin=MARGIN).to(self.device)
        self.optimizer = torch.optim.SGD(
            [self.weight], lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )

    def state(self) -> list[Tensor]:
        kept = self.optimizer.state[self.weight].values()
        return [self.weight.detach(), *(value for value in kept if isinstance(value, Tensor))]

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        rows, labels = self._sample(labels)
        cos = functional.linear(functional.normalize(embeddings), functional.normalize(rows))
        places = labels[:, None]
        logits = (cos * SCALE).scatter(1, places, self._target(cos, embeddings, places))
        return functional.cross_entropy(logits, labels)

    def _target(self, cos: Tensor, embeddings: Tensor, places: Tensor) -> Tensor:
        """The target's logit [N, 1]."""
        samples = partialfc.Samples(cos.gather(1, places)[:, 0], embeddings.norm(dim=1))
        return self.margin.target(samples)[:, None]

    def _sample(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The centres that take part [K, D], and the labels' places among them [N]."""
        if self.work.sample_rate == 1.0:
            return self.weight, labels.to(self.device)
        shard = partialfc.ClassShard(self.work.classes, 0, 1)
        drawn = sample_rows(shard, labels.numpy(), self.work.rows, seed=0, step=len(self.losses))
        index = torch.from_numpy(drawn)
        places = torch.searchsorted(index, labels).to(self.device)
        return self.weight.index_select(0, index.to(self.device)), places
