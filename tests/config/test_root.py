"""The whole config: defaults, every section, and the rules between sections."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from partialfc.config import AdamWConfig, ArcFaceConfig, CombinedConfig, Config, SGDConfig, load_config
from tests.config.cases import FULL, SMALL, failure, load, small
from tests.paths import ROOT


def test_a_small_file_gets_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, SMALL)
    assert config.run.dir == Path("runs/one")
    assert config.run.seed == 0
    assert config.data.num_classes is None
    assert config.data.augment.model_dump() == {
        "flip": False,
        "shift": 0.0,
        "scale": 0.0,
        "rotate": 0.0,
        "fill": None,
        "brightness": 0.0,
        "contrast": 0.0,
        "saturation": 0.0,
        "low_resolution": 0.0,
        "low_resolution_size": 0.25,
    }
    assert config.data.loader == "auto"
    assert config.data.max_bad_records == 0
    assert config.head.margin == ArcFaceConfig(scale=64.0, margin=0.5)
    assert config.head.sample_rate == 1.0
    assert config.optimizer == SGDConfig(lr=0.1, momentum=0.9, weight_decay=5e-4)
    assert config.schedule.name == "polynomial"
    assert config.schedule.warmup_steps is config.schedule.warmup_epochs is None
    assert config.train.clip_norm == 5.0
    assert config.checkpoint.resume == "auto"
    assert config.verification.sets == {}
    assert config.verification.at_start is False
    assert config.verification.best_set is None


def test_every_section_is_read_as_written(tmp_path: Path) -> None:
    config = load(tmp_path, FULL)
    assert config.run.seed == 31
    assert config.data.num_classes == 10_000_000
    assert config.data.augment.rotate == 15.0
    assert config.backbone.options == {
        "depth": [3, 4, 14, 3],
        "dropout": 0.4,
        "fp16": None,
        "stem": {"kernel": 3},
    }
    assert config.head.margin == CombinedConfig(
        name="combined", m1=1.0, m2=0.3, m3=0.2, scale=48.0, margin_gradient="straight_through"
    )
    assert isinstance(config.optimizer, AdamWConfig)
    assert config.optimizer.betas == (0.9, 0.98)
    assert config.optimizer.eps == 1e-6
    assert config.optimizer.head_lr == 2e-3
    assert config.train.batch_size == 1024
    assert config.verification.sets == {"lfw": Path("lfw.bin"), "agedb_30": Path("agedb_30.bin")}
    assert config.verification.at_start is True
    assert config.verification.best_set == "agedb_30"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "dense"),
        (["head.unsampled=dense"], "dense"),
        (["head.unsampled=frozen"], "frozen"),
        (["optimizer.name=adamw"], "frozen"),
        (["optimizer.name=adamw", "head.unsampled=frozen"], "frozen"),
    ],
)
def test_unsampled_centres_follow_the_optimizer_unless_told(overrides: list[str], expected: str) -> None:
    assert small(*overrides).unsampled == expected


def test_adamw_cannot_move_unsampled_centres() -> None:
    text = failure("optimizer.name=adamw", "head.unsampled=dense")
    assert text == (
        "overrides 'optimizer.name=adamw', 'head.unsampled=dense': head.unsampled: must be frozen with "
        "optimizer.name: adamw, got 'dense'; leave it out, or take optimizer.name: sgd"
    )


def test_a_warm_up_in_steps_ends_before_the_run() -> None:
    steps = ("train.epochs=null", "train.steps=10")
    assert small(*steps, "schedule.warmup_steps=9").schedule.warmup_steps == 9
    assert "schedule.warmup_steps: must be less than train.steps, 10, got 10" in failure(
        *steps, "schedule.warmup_steps=10"
    )


def test_a_warm_up_in_epochs_ends_before_the_run() -> None:
    message = r"schedule\.warmup_epochs: must be less than train\.epochs, 3.0, got 3.0"
    text = failure("schedule.warmup_epochs=3")
    assert re.search(message, text)
    remedy = text.rpartition("such as ")[2]
    assert small("schedule.warmup_epochs=3", remedy).schedule.warmup_epochs == 0.3
    short = ("train.epochs=null", "train.steps=5", "schedule.warmup_epochs=null")
    assert failure(*short, "schedule.warmup_steps=7").endswith("such as schedule.warmup_steps=0")


@pytest.mark.parametrize("rate", ["head_lr", "head_weight_decay"])
def test_a_teacher_alone_moves_no_centres(rate: str) -> None:
    """As other objectives without a head: what is for its centres is refused."""
    taught = "objective={name: distill, teacher_from: runs/a, weight: 7.0, alone: %s}"
    rule = f"optimizer.{rate}: must be null with objective.alone: true, which has no centres to move, got 0.1"
    assert rule in failure(taught % "true", f"optimizer.{rate}=0.1")
    assert getattr(small(taught % "false", f"optimizer.{rate}=0.1").optimizer, rate) == 0.1


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_a_config_that_comes_along_may_run_for_one_epoch(config: Path) -> None:
    assert load_config(config, ["train.epochs=1", "train.steps=null"]).train.epochs == 1


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """One, all variants of it, or those of a list's elements."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from sections_in(argument)


@pytest.mark.parametrize("name", Config.model_fields)
def test_a_section_is_found_in_the_file_of_its_name(name: str) -> None:
    """Or in that of its variant, such as objective.name."""
    field = Config.model_fields[name]
    sections = [*sections_in(field.annotation)]
    variants = [
        section.model_fields["name"].annotation for section in sections if "name" in section.model_fields
    ]
    files = {name, *(each for variant in variants for each in get_args(variant))}
    assert {section.__module__ for section in sections} <= {f"partialfc.config.{file}" for file in files}
