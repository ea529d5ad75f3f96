"""A margin that uses the whole interface, in a head, against autograd on dense logits."""

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc import Samples
from tests.head.cases import Case, even
from tests.head.margins.dense import Make, check_batches, run_batches


class Reweighting(partialfc.Margin):
    """A margin that uses the whole interface: hard negatives by a state, norms, a regulariser."""

    def __init__(self) -> None:
        super().__init__(scale=16.0)
        self.register_buffer("average", torch.zeros((), dtype=torch.float64))

    @property
    def logit_bound(self) -> float:
        return 3 * self.scale

    def update(self, samples: Samples) -> None:
        self.average = 0.9 * self.average + 0.1 * samples.cos.mean()

    def target(self, samples: Samples) -> Tensor:
        return self.scale * (samples.cos - 0.1 * samples.norm.log1p() - 0.01 * samples.normal())

    def negatives(self, cos: Tensor, samples: Samples) -> Tensor:
        hard = cos > samples.cos
        return self.scale * torch.where(hard, cos * (self.average + cos) + 0.3 * samples.cos, cos)

    def regulariser(self, samples: Samples) -> Tensor:
        return 0.01 * (samples.norm + 1 / samples.norm) + 0.001 * samples.label


REWEIGHTING: Make = (Reweighting, {})


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_a_margin_may_reweight_negatives_use_norms_and_keep_state(
    run_ranks, world_size, sample_rate, micro_batches
):
    cases = [
        Case(even(world_size), num_classes=30, sample_rate=sample_rate, seed=seed)
        for seed in range(micro_batches)
    ]
    check_batches(REWEIGHTING, cases, run_ranks(run_batches, world_size, REWEIGHTING, cases))
