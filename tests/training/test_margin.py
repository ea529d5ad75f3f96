"""Runs with each margin: built from the config, stopped and resumed at any number of ranks."""

import io
import logging
import math
import warnings
from typing import Any

import pytest
import torch

import partialfc
from partialfc.config import Config, load_config
from partialfc.config.plan import planned_setting
from partialfc.distributed.device import local_device
from partialfc.training.builders.head import MARGINS, build_head, build_margin
from partialfc.training.loop import Trainer
from tests.train_cases import small_config
from tests.training.cases import EXACT, assert_same_end, losses, moved

RESUMED: dict[str, dict[str, Any]] = {  # whose logits depend on steps before, the step's number, or a bias
    "curricularface": {"scale": 16, "margin": 0.2, "momentum": 0.3},
    "adaface": {"scale": 16, "margin": 0.2, "momentum": 0.3},
    "elasticface": {"scale": 16, "mean": 0.2, "std": 0.2, "plus": True},
    "softmax": {"bias": True},
    "sphereface": {"m": 3, "lambda_min": 0.1, "lambda_base": 3.0, "lambda_gamma": 0.5},
}
CONSTANT = {"schedule": {"name": "constant", "warmup_steps": 0}}


@pytest.mark.parametrize("name", MARGINS)
def test_a_head_is_built_with_each_margin(folder, name):
    section = small_config(folder, f"head.margin={{name: {name}}}").head
    head = build_head(section, embedding_size=4, num_classes=5, seed=0, device=torch.device("cpu"))
    assert type(head.margin) is MARGINS[name]


def test_a_margin_in_a_margin_is_built_too(folder):
    chosen = "head.margin={name: mv_softmax, t: 0.4, base: {name: cosface, margin: 0.1}}"
    margin = build_margin(small_config(folder, chosen).head.margin.model_dump())
    assert repr(margin) == repr(partialfc.MVSoftmax(partialfc.CosFace(margin=0.1), t=0.4))


@pytest.mark.parametrize(
    ("margin", "bound"), [("{name: arcface, scale: 200}", 200), ("{name: curricularface, scale: 80}", 160)]
)
def test_logits_too_large_for_their_dtype_are_an_error_of_the_config(folder, margin, bound):
    section = small_config(folder, f"head.margin={margin}").head
    message = (
        rf"head\.margin: with name: .*face logits come up to {bound}, and with head\.compute_dtype: float32 "
        r"they may reach 147: lower .* or set head\.compute_dtype=float64"
    )
    with pytest.raises(partialfc.ConfigError, match=message):
        build_head(section, embedding_size=4, num_classes=5, seed=0, device=torch.device("cpu"))
    wide = section.model_copy(update={"compute_dtype": "float64"})
    build_head(wide, embedding_size=4, num_classes=5, seed=0, device=torch.device("cpu"))


@pytest.mark.parametrize("name", MARGINS)
def test_a_run_with_each_margin_trains_and_is_planned(folder, name):
    config = small_config(folder, f"head.margin={{name: {name}}}", "train.steps=2", "schedule.warmup_steps=1")
    run(config)
    assert all(math.isfinite(loss) for loss in losses(folder))
    assert load_config(folder / "run" / "config.yaml") == config
    assert planned_setting(config, classes=20).sample_rate == config.head.sample_rate


def run(config: Config) -> dict[str, Any]:
    """A whole run on this rank: rows, backbone and the margin's state."""
    trainer = Trainer(config, local_device(config.train.device))
    with trainer.running():
        trainer.run()
    trainer.objective.head_optimizer.flush()
    modules = {"backbone": trainer.objective.backbone, "margin": trainer.objective.head.margin}
    state = {name: module.state_dict() for name, module in modules.items()}
    return {
        "rows": trainer.objective.head.weight.detach().clone(),
        "backbone": {name: tensor.clone() for name, tensor in state["backbone"].items()},
        "margin": {name: tensor.item() for name, tensor in state["margin"].items()},
    }


def config_of(folder: Any, name: str, steps: int, **sections: Any) -> Config:
    head = sections.pop("head", {}) | {"margin": {"name": name, **RESUMED[name]}}
    return small_config(folder, **CONSTANT, **sections, head=head, train={"steps": steps})


@pytest.mark.parametrize("name", RESUMED)
def test_a_resume_ends_as_if_there_had_been_no_stop(run_ranks, folder, name):
    """Bit for bit at the same number of ranks, and the margin's state the same on every rank."""
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    expected = run_ranks(run, 2, config_of(whole, name, 6))
    run_ranks(run, 2, config_of(parts, name, 3))
    found = run_ranks(run, 2, config_of(parts, name, 6))
    assert_same_end(expected, found)
    assert losses(parts) == losses(whole)
    for rank in (0, 1):
        assert found[rank]["margin"] == expected[0]["margin"]


@pytest.mark.parametrize("name", RESUMED)
def test_another_number_of_ranks_goes_on_alike(run_ranks, folder, name):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    expected = run_ranks(run, 1, config_of(whole, name, 6, **EXACT))
    run_ranks(run, 2, config_of(parts, name, 3, **EXACT))
    found = run_ranks(run, 3, config_of(parts, name, 6, **EXACT))
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-9)
    for result in found:
        assert result["margin"] == pytest.approx(expected[0]["margin"], abs=1e-12)


def test_a_resume_with_a_margin_of_another_state_is_one_error(folder):
    run(config_of(folder, "adaface", 2))
    for name, keeps in (("curricularface", "t"), ("elasticface", "nothing")):
        says = rf"head\.margin\.name adaface -> {name}: adaface keeps mean, std .*, {name} {keeps}; set them"
        with pytest.raises(partialfc.CheckpointError, match=says):
            run(config_of(folder, name, 3))


def warnings_of_a_run(config: Config) -> list[str]:
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    handler.setLevel(logging.WARNING)
    logging.getLogger("partialfc").addHandler(handler)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Trainer(config, local_device(config.train.device)).loader.close()
    logging.getLogger("partialfc").removeHandler(handler)
    return told.getvalue().splitlines()


@pytest.mark.parametrize("sub_centers", [1, 2])
def test_a_low_lambda_g_is_told_once_by_its_key(run_ranks, folder, sub_centers):
    chosen = ["head.margin={name: magface}", f"head.sub_centers={sub_centers}"]
    told = run_ranks(warnings_of_a_run, 2, small_config(folder, *chosen))
    assert told == [
        [
            "head.margin.lambda_g is 20, below the bound of MagFace's paper, 22.59 for this scale, l_a, u_a, "
            "l_m and u_m: norms of hard samples may stay at l_a, 10"
        ],
        [],
    ]
    assert warnings_of_a_run(small_config(folder, "head.margin={name: magface, lambda_g: 35}")) == []
