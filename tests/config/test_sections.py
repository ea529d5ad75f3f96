"""The sections: defaults, what follows from values, bounds, and rules between keys."""

import math
import re
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from partialfc.config import (
    AdamWConfig,
    ArcFaceConfig,
    CheckpointConfig,
    CombinedConfig,
    CosFaceConfig,
    NormalizedSoftmaxConfig,
    SGDConfig,
    VerificationConfig,
)
from tests.config.cases import FULL, SMALL, failure, load, small


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
    ("margin", "expected"),
    [
        ("{}", ArcFaceConfig(margin=0.5, beyond_pi="hard", margin_gradient="exact")),
        ("{name: arcface, beyond_pi: easy}", ArcFaceConfig(beyond_pi="easy")),
        ("{name: cosface}", CosFaceConfig(name="cosface", scale=64.0, margin=0.35)),
        (
            "{name: normalized_softmax, scale: 30}",
            NormalizedSoftmaxConfig(name="normalized_softmax", scale=30.0),
        ),
        ("{name: combined}", CombinedConfig(name="combined", m1=1.0, m2=0.5, m3=0.0)),
    ],
)
def test_a_margin_is_chosen_by_its_name(margin: str, expected: BaseModel) -> None:
    assert small(f"head.margin={margin}").head.margin == expected


def test_derived_values_are_properties_and_the_given_ones_stay() -> None:
    config = small("train.accumulation=4", "verification.sets={a: a.bin, b: b.bin}")
    assert config.train.samples_per_step == 512
    assert config.optimizer.head_lr is None
    assert config.optimizer.effective_head_lr == 0.1
    assert config.optimizer.effective_head_weight_decay == 5e-4
    assert config.verification.best is None
    assert config.verification.best_set == "a"
    config = small("optimizer.head_lr=0.2", "optimizer.head_weight_decay=0")
    assert config.optimizer.effective_head_lr == 0.2
    assert config.optimizer.effective_head_weight_decay == 0.0


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


def test_the_config_is_frozen() -> None:
    config = small()
    with pytest.raises(ValidationError, match="frozen"):
        config.train.batch_size = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.train = config.train  # type: ignore[misc]


def test_two_configs_share_no_mutable_default() -> None:
    first, second = small(), small()
    first.verification.sets["a"] = Path("a")
    first.backbone.options["a"] = 1
    assert second.verification.sets == {}
    assert second.backbone.options == {}


@pytest.mark.parametrize("written", [".nan", ".inf", "-.inf", "1e400"])
@pytest.mark.parametrize("key", ["optimizer.lr", "train.clip_norm", "backbone.options.rate"])
def test_numbers_are_finite(written: str, key: str) -> None:
    assert f"{key}: must be a finite number, got " in failure(f"{key}={written}")


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("run.seed", "-1"),
        ("run.seed", str(2**63)),
        ("data.num_classes", "0"),
        ("data.image_size", "0"),
        ("data.workers", "-1"),
        ("data.timeout_seconds", "0"),
        ("data.augment.shift", "1.01"),
        ("data.augment.scale", "0.91"),
        ("data.augment.rotate", "180.5"),
        ("data.augment.fill", "256"),
        ("data.augment.fill", "-1"),
        ("backbone.embedding_size", "0"),
        ("head.sample_rate", "0"),
        ("head.sample_rate", "1.01"),
        ("head.margin.scale", "0"),
        ("head.margin.margin", "-0.1"),
        ("head.margin.margin", str(math.pi)),
        ("optimizer.lr", "0"),
        ("optimizer.lr", "-1e-3"),
        ("optimizer.momentum", "1"),
        ("optimizer.weight_decay", "-1"),
        ("optimizer.head_lr", "0"),
        ("optimizer.head_weight_decay", "-1"),
        ("schedule.warmup_steps", "-1"),
        ("schedule.warmup_epochs", "-0.1"),
        ("schedule.power", "0"),
        ("schedule.final_lr_ratio", "1.1"),
        ("train.batch_size", "0"),
        ("train.epochs", "0"),
        ("train.accumulation", "0"),
        ("train.clip_norm", "0"),
        ("train.threads", "0"),
        ("train.log_every", "0"),
        ("train.max_nonfinite_steps", "0"),
        ("train.timeout_seconds", "0"),
        ("checkpoint.every_steps", "0"),
        ("checkpoint.every_epochs", "0"),
        ("checkpoint.keep_last", "0"),
        ("verification.every_steps", "0"),
        ("verification.folds", "1"),
        ("verification.batch_size", "0"),
    ],
)
def test_bounds_are_stated(key: str, bad: str) -> None:
    override = f"{key}={bad}"
    bound = r"must be (greater|less) than( or equal to)? [\d.]+"
    assert re.fullmatch(
        rf"override '{override}': {re.escape(key)}: {bound}, got {bad.replace('1e-3', '0.001')}",
        failure(override),
    )


@pytest.mark.parametrize("bad", ["2", "true", "1.0", "'1'", "null"])
def test_channels_are_one_or_three(bad: str) -> None:
    assert re.search(r"data\.channels: must be 1 or 3, got", failure(f"data.channels={bad}"))
    assert small("data.channels=1").data.channels == 1


@pytest.mark.parametrize(("bad", "got"), [("3", "3"), ("null", "null"), ("[a]", r"\['a'\]")])
def test_a_path_is_text(bad: str, got: str) -> None:
    assert re.search(rf"run\.dir: must be a path, got {got}$", failure(f"run.dir={bad}"))


@pytest.mark.parametrize("bad", ["''", "~/runs"])
def test_a_path_is_not_empty_and_no_tilde_is_taken_for_a_folder(bad: str) -> None:
    assert "run.dir: must be a path, not empty and without the '~'" in failure(f"run.dir={bad}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train={batch_size: 1}",
            "train: give exactly one of epochs and steps, null for the other, got neither",
        ),
        ("train.steps=9", "train: give exactly one of epochs and steps, .*got epochs 3.0 and steps 9"),
        (
            "schedule={warmup_steps: 1, warmup_epochs: 1}",
            "schedule: give at most one of warmup_steps and warmup_epochs",
        ),
        ("schedule={name: cosine, power: 3}", "schedule: power is 3.0, but only name: polynomial uses it"),
        (
            "schedule={name: constant, final_lr_ratio: 0.1}",
            "schedule: final_lr_ratio is 0.1, but name: constant",
        ),
        (
            "schedule.warmup_epochs=3",
            r"schedule\.warmup_epochs: must be less than train\.epochs, 3.0, got 3.0",
        ),
        (
            "checkpoint={every_steps: 1, every_epochs: 1}",
            "checkpoint: give at most one of every_steps and every_epochs",
        ),
        ("verification={every_steps: 1, every_epochs: 1}", "verification: give at most one of every_steps"),
        ("verification.best=lfw", "verification: best is 'lfw', but sets has no entry"),
        ("verification={best: lfw, sets: {a: a, b: b}}", "verification: best is 'lfw', but sets has a, b"),
    ],
)
def test_rules_between_keys(override: str, message: str) -> None:
    assert re.search(message, failure(override))


def test_a_warm_up_in_steps_ends_before_the_run() -> None:
    steps = ("train.epochs=null", "train.steps=10")
    assert small(*steps, "schedule.warmup_steps=9").schedule.warmup_steps == 9
    assert "schedule.warmup_steps: must be less than train.steps, 10, got 10" in failure(
        *steps, "schedule.warmup_steps=10"
    )


def test_adamw_cannot_move_unsampled_centres() -> None:
    text = failure("optimizer.name=adamw", "head.unsampled=dense")
    assert text == (
        "small.yaml: head.unsampled: must be frozen with optimizer.name: adamw, got 'dense'; "
        "leave it out, or take optimizer.name: sgd"
    )


@pytest.mark.parametrize("bad", ["0.9", "[0.9]", "[0.9, 0.9, 0.9]", "'ab'"])
def test_betas_are_two(bad: str) -> None:
    assert "optimizer.betas: must be a list of two numbers, got " in failure(
        f"optimizer={{name: adamw, lr: 1, betas: {bad}}}"
    )


@pytest.mark.parametrize("bad", ["1", "-0.1", "true", "x"])
def test_each_beta_has_its_rule(bad: str) -> None:
    assert "optimizer.betas.1: must be " in failure(f"optimizer={{name: adamw, lr: 1, betas: [0.9, {bad}]}}")


@pytest.mark.parametrize("section", [CheckpointConfig, VerificationConfig])
@pytest.mark.parametrize("key", ["every_steps", "every_epochs"])
def test_the_period_without_either_key_is_documented(section: type[BaseModel], key: str) -> None:
    assert "neither every_steps nor every_epochs: after each epoch" in section.model_fields[key].description
