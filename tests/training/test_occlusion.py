"""`objective: {name: occlusion}` of a run: its terms, its checkpoints, and any number of ranks."""

from typing import Any

import pytest
import torch

import partialfc
from partialfc.distributed.device import local_device
from partialfc.metrics.run_log import read_metrics
from partialfc.trained import load_trained
from partialfc.training.loop import Trainer
from tests.train_cases import Normed, small_config
from tests.training.cases import losses, moved, tensor_files

MAPPED = {"name": "tests.occlusion.cases:Mapped"}
EXACT = {"backbone": MAPPED | {"options": {"exact": True}}}
HEAD = {"weight_dtype": "float64", "compute_dtype": "float64"}
places = pytest.mark.parametrize("place", ["map", "image"])


def objective(**options: Any) -> dict[str, Any]:
    return {"objective": {"name": "occlusion", "hidden": 4, **options}}


def lines(folder) -> list[dict[str, Any]]:
    return [record for record in read_metrics(folder / "run") if record["event"] == "train"]


def run(config: Any) -> dict[str, Any]:
    trainer = Trainer(config, local_device(config.train.device))
    with trainer.running():
        finished = trainer.run()
    trainer.objective.optimizers["head"].flush()
    network = trainer.objective.network.state_dict()
    return {
        "finished": finished,
        "rows": trainer.objective.head.weight.detach().clone(),
        "network": {name: tensor.clone() for name, tensor in network.items()},
    }


def assert_same(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a["rows"], b["rows"])
        assert {
            name for name in a["network"] if not torch.equal(a["network"][name], b["network"][name])
        } == set()


@places
def test_head_and_branch_learn_and_are_terms_of_the_loss(folder, place):
    given = objective(at=place, segmentation=0.5)
    run(small_config(folder, backbone=MAPPED, **given, head={"sample_rate": 1.0}, train={"steps": 60}))
    told = lines(folder)
    for key in ("loss_head", "loss_segmentation"):
        assert sum(line[key] for line in told[-5:]) < 0.8 * sum(line[key] for line in told[:5]), key
    for line in told:
        assert line["loss"] == pytest.approx(line["loss_head"] + 0.5 * line["loss_segmentation"], rel=1e-5)


@places
def test_any_number_of_ranks_trains_alike(run_ranks, folder, place):
    """24 samples over 2 ranks, 25 over 3, in two micro-batches, in float64, with a margin that draws."""
    margin = {"name": "elasticface", "scale": 16, "mean": 0.2}
    for batch, world_sizes in ((24, (1, 2)), (25, (1, 3))):
        curves = []
        for world_size in world_sizes:
            own = moved(folder, f"{batch}-{world_size}")
            train = {"batch_size": batch, "steps": 4, "accumulation": 2}
            head = HEAD | {"margin": margin}
            given = {**EXACT, **objective(at=place), "head": head, "train": train}
            run_ranks(run, world_size, small_config(own, **given))
            curves.append([(line["loss"], line["loss_segmentation"]) for line in lines(own)])
        assert torch.tensor(curves[1]) == pytest.approx(torch.tensor(curves[0]), abs=1e-9)


@pytest.mark.parametrize(
    ("world_size", "options", "train"),
    [
        (1, {"at": "map"}, {}),
        (2, {"at": "image", "unmasked": False, "share": 0.5}, {"accumulation": 2, "amp": "bfloat16"}),
    ],
    ids=["alone_map", "two_ranks_image"],
)
def test_a_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(
    run_ranks, folder, world_size, options, train
):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    mapped = MAPPED | {"channels_last": True}
    given = {**objective(**options), "train": train}
    passes = train.get("accumulation", 1) * (2 if options["at"] == "image" else 1)
    stops = mapped | {"options": {"at": 7 * passes}}
    expected = run_ranks(run, world_size, small_config(whole, **given, backbone=mapped))
    stopped = run_ranks(run, world_size, small_config(parts, **given, backbone=stops))
    assert not any(result["finished"] for result in stopped)
    resumed = run_ranks(run, world_size, small_config(parts, **given, backbone=mapped))
    assert losses(parts) == losses(whole)
    assert_same(expected, resumed)
    assert tensor_files(parts) == tensor_files(whole)
    assert expected[0]["network"]["generator.layers.0.weight"].any()


def test_what_is_used_afterwards_is_the_backbone_alone(folder):
    result = run(small_config(folder, backbone=MAPPED, **objective()))
    trained = load_trained(folder / "run", trust=["tests.occlusion.cases"])
    assert {*trained.backbone.state_dict()} == {
        name.removeprefix("backbone.") for name in result["network"] if name.startswith("backbone.")
    }
    embeddings = trained(torch.zeros(3, 1, 8, 8))
    assert embeddings.shape == (3, 16)


def test_a_backbone_without_a_feature_map_is_refused(folder):
    assert not hasattr(Normed, "feature_map")
    with pytest.raises(partialfc.ConfigError, match=r"is occlusion, but backbone Normed.*feature_map"):
        run(small_config(folder, **objective()))


def test_another_objective_is_refused_at_a_resume(folder):
    run(small_config(folder, backbone=MAPPED))
    with pytest.raises(partialfc.CheckpointError, match=r"objective.name classification -> occlusion"):
        run(small_config(folder, backbone=MAPPED, **objective(), train={"steps": 20}))


def test_another_size_of_generator_is_refused_at_a_resume(folder):
    run(small_config(folder, backbone=MAPPED, **objective()))
    with pytest.raises(partialfc.CheckpointError, match=r"objective.hidden 4 -> 5"):
        run(small_config(folder, backbone=MAPPED, **objective(hidden=5), train={"steps": 20}))
