"""Steps that are not finite: skipped on every rank, explained, and an end to the run when they go on."""

import json
from typing import Any

import pytest
import torch

import partialfc
from partialfc.distributed import World
from partialfc.head.centres import ROWS_TO_LOOK_AT
from partialfc.losses.weighted import WeightedLosses
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from partialfc.training.nonfinite import Evidence, NonFiniteSteps
from partialfc.training.objectives.classification import Classification
from tests.torch_calls import TorchCalls
from tests.train_cases import small_config
from tests.training.cases import run


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_nonfinite_step_is_skipped_everywhere_and_leaves_no_trace(run_ranks, folder, world_size):
    """NaN on the last rank in steps 3 and 4: no parameter, no running statistic is spoilt."""
    poison = {"steps": [3, 4], "rank": world_size - 1}
    backbone = {"name": "tests.train_cases:Poisoned", "options": poison}
    for result in run_ranks(run, world_size, small_config(folder, backbone=backbone)):
        assert result["finished"]
        assert all(torch.isfinite(t).all() for t in result["backbone"].values())
        assert torch.isfinite(result["rows"]).all()
    records = read_metrics(folder / "run")
    skipped = [record for record in records if record["event"] == "nonfinite"]
    assert [record["step"] for record in skipped] == [3, 4]
    assert f"step 3: non-finite embedding norm on rank {world_size - 1}" in skipped[0]["cause"]
    assert [r for r in records if r["event"] == "train"][-1]["nonfinite_steps"] == 2
    assert [r for r in records if r["event"] == "train"][2]["loss"] is None
    for line in (folder / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # NaN is no JSON


@pytest.mark.parametrize(
    ("backbone", "cause"),
    [
        (
            {"name": "tests.train_cases:Poisoned", "options": {"steps": list(range(4, 99)), "rank": 1}},
            "step 4: non-finite embedding norm on rank 1",
        ),
        ({"name": "tests.train_cases:Exploding"}, "step 1: non-finite gradient on every rank"),
    ],
)
def test_too_many_nonfinite_steps_end_the_run_with_a_diagnosis(rank_outcomes, folder, backbone, cause):
    config = small_config(folder, backbone=backbone, train={"max_nonfinite_steps": 3})
    for outcome in rank_outcomes(run, 2, config):
        assert isinstance(outcome, partialfc.NonFiniteError)
        assert "3 steps in a row were not finite, the most that train.max_nonfinite_steps" in str(outcome)
        assert cause in str(outcome)


def spoil_centres(config: Any) -> None:
    trainer = Trainer(config, torch.device("cpu"))
    if trainer.world.rank == 1:
        with torch.no_grad():
            trainer.objective.head.weight[0] = torch.nan
    with trainer.running():
        trainer.run()


def test_a_nonfinite_centre_is_told_from_a_nonfinite_embedding(rank_outcomes, folder):
    config = small_config(folder, head={"sample_rate": 1.0}, train={"max_nonfinite_steps": 1})
    for outcome in rank_outcomes(spoil_centres, 2, config):
        assert "non-finite centres on rank 1" in str(outcome)


class Growing(partialfc.ArcFace):
    """Negatives that grow with each step, beyond the bound that holds at first."""

    def __init__(self) -> None:
        super().__init__(scale=16.0)
        self.register_buffer("factor", torch.tensor(1.0))

    def update(self, samples: partialfc.Samples) -> None:
        self.factor = 100.0 * self.factor

    def negatives(self, cos: torch.Tensor, samples: partialfc.Samples) -> torch.Tensor:
        return self.scale * self.factor * cos


def objective_of(backbone: torch.nn.Module, head: partialfc.PartialFC) -> Classification:
    optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.9)
    return Classification(backbone, head, optimizer, WeightedLosses({}, {}), lambda values: head.margin)


def test_logits_above_a_margins_bound_are_named():
    world = World.of()
    backbone, head = torch.nn.Linear(8, 8), partialfc.PartialFC(8, 40, margin=Growing())
    objective = objective_of(backbone, head)
    steps = NonFiniteSteps(objective, world, limit=9)
    embeddings = backbone(torch.randn(16, 8, generator=torch.Generator().manual_seed(0)))
    loss = head(embeddings, torch.arange(16))
    assert not loss.isfinite()
    cause = steps.bad(Evidence(1, [embeddings.detach()], loss.detach(), objective.centres_finite()))
    assert cause.endswith(
        "non-finite logits on every rank (so it is where the margin's negatives() exceeds its logit_bound)"
    )


@pytest.mark.parametrize("sample_rate", [1.0, 0.5])
@pytest.mark.parametrize("spoilt", [False, True])
def test_a_bad_step_is_explained_in_little_memory(sample_rate, spoilt):
    """However many centres took part, a few tensors of a chunk of them exist at a time."""
    head = partialfc.PartialFC(
        128, 50_000, margin=partialfc.ArcFace(), sample_rate=sample_rate, compile=False
    )
    objective = objective_of(torch.nn.Linear(2, 2), head)
    for _ in range(2):
        head(torch.randn(4, 128), torch.arange(4)).backward()
        objective.head_optimizer.step()
    if spoilt:
        with torch.no_grad():
            head.weight[head.last_sample[-1]] = torch.nan
    steps = NonFiniteSteps(objective, World.of(), limit=2)
    with TorchCalls() as calls:
        cause = steps.bad(Evidence(1, [torch.zeros(4, 128)], torch.tensor(1.0), objective.centres_finite()))
    assert cause.startswith(f"step 1: non-finite {'centres on rank 0' if spoilt else 'gradient'}")
    chunk, owed = ROWS_TO_LOOK_AT * 128 * 4, len(head.last_sample) * 4 * 4
    assert calls.peak < 7 * chunk + 2 * owed < len(head.last_sample) * 128 * 4 * 2
