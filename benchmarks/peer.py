"""InsightFace's arcface_torch as the subject of a measurement, from your own checkout.

    git clone --filter=blob:none --sparse https://github.com/deepinsight/insightface
    git -C insightface sparse-checkout set recognition/arcface_torch

It is written for CUDA and for a process group: on the CPU `.cuda()` does nothing, and the group is this
process alone. Everything else is as in its train_v2.py: CombinedMarginLoss as ArcFace, PartialFC_V2,
torch.optim.SGD. Products run in float32, or on CUDA with its `fp16` in float16.
"""

import sys
import warnings
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from groups import Build, join_process_group
from subject import HeadSubject
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from work import LEARNING_RATE, MARGIN, MOMENTUM, SCALE, WEIGHT_DECAY, Work

NAME = "arcface_torch"
FILES = ("partial_fc_v2.py", "losses.py")


def at(folder: Path) -> Build:
    """The subject from the checkout in `folder`; FileNotFoundError where that is not one."""
    for file in FILES:
        if not (folder / file).exists():
            raise FileNotFoundError(f"{folder} has no {file}: give recognition/arcface_torch of InsightFace")
    return partial(Peer, folder=folder.resolve())


class Peer(HeadSubject):
    def __init__(self, work: Work, rank: int, *, folder: Path) -> None:
        assert work.processes == 1
        assert work.compute in (torch.float32, torch.float16)
        assert work.storage == work.momentum == torch.float32
        if work.device == "cpu":
            _stay_on_cpu()
        # its warning that torch.cuda.amp.autocast has a new name
        warnings.filterwarnings("ignore", category=FutureWarning)
        sys.path.append(str(folder))
        join_process_group(0, 1, HashStore(), backend="gloo" if work.device == "cpu" else "nccl")
        super().__init__(work, rank)

    def build(self) -> None:
        work = self.work
        margin = import_module("losses").CombinedMarginLoss(SCALE, 1.0, MARGIN, 0.0, 0)
        self.head: nn.Module = import_module("partial_fc_v2").PartialFC_V2(
            margin, work.embedding, work.classes, work.sample_rate, work.compute == torch.float16
        )
        self.head.train().cuda()
        self.optimizer = torch.optim.SGD(
            [{"params": self.head.parameters()}],
            lr=LEARNING_RATE,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
        )

    def state(self) -> list[Tensor]:
        (weight,) = self.head.parameters()
        kept = self.optimizer.state[weight].values()
        return [weight.detach(), *(value for value in kept if isinstance(value, Tensor))]

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self.head(embeddings, labels.to(self.device, copy=True))  # it changes them in place
        return loss


def _stay_on_cpu() -> None:
    """In this process, `.cuda()` returns what it is called on."""
    setattr(torch.Tensor, "cuda", lambda tensor, *_, **__: tensor)  # noqa: B010
    setattr(nn.Module, "cuda", lambda module, *_, **__: module)  # noqa: B010
