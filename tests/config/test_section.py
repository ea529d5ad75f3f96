"""What holds in every section: frozen, finite, within bounds, and what a path is."""

import math
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.config.cases import failure, small


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


@pytest.mark.parametrize(("bad", "got"), [("3", "3"), ("null", "null"), ("[a]", r"\['a'\]")])
def test_a_path_is_text(bad: str, got: str) -> None:
    assert re.search(rf"run\.dir: must be a path, got {got}$", failure(f"run.dir={bad}"))


@pytest.mark.parametrize("bad", ["''", "~/runs"])
def test_a_path_is_not_empty_and_no_tilde_is_taken_for_a_folder(bad: str) -> None:
    assert "run.dir: must be a path, not empty and without the '~'" in failure(f"run.dir={bad}")
