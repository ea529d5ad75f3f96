"""The config as users meet it: files, overrides, messages, and what is saved with a run."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from partialfc.config import (
    AdamWConfig,
    ArcFaceConfig,
    CombinedConfig,
    Config,
    CosFaceConfig,
    NormalizedSoftmaxConfig,
    SGDConfig,
    config_schema,
    dump_config,
    load_config,
    parse_config,
)
from partialfc.errors import ConfigError

SMALL = """
run: {dir: runs/one}
data: {train: faces.rec}
backbone: {name: iresnet50}
optimizer: {lr: 0.1}
train: {batch_size: 128, epochs: 3}
"""

FULL = """
# Every section, in the notations people use.
run:
  dir: runs/full
  seed: 0x1F
data:
  train: /data/ms1m/train.rec
  num_classes: 10_000_000
  image_size: 96
  channels: 1
  workers: 4
  augment: {flip: true, shift: .1, scale: 0.2, rotate: 15, fill: 128}
  timeout_seconds: 30
backbone:
  name: "my.package:build"
  embedding_size: 256
  options: {depth: [3, 4, 14, 3], dropout: 4e-1, fp16: null, stem: {kernel: 3}}
  compile: true
  channels_last: true
  weights: start.pt
head:
  margin: {name: combined, m1: 1.0, m2: 0.3, m3: 0.2, scale: 48, margin_gradient: straight_through}
  sample_rate: 0.1
  compute_dtype: bfloat16
  unsampled: frozen
optimizer: {name: adamw, lr: 1e-3, betas: [0.9, 0.98], eps: 1E-6, weight_decay: 5e-2, head_lr: 2.e-3}
schedule: {name: cosine, warmup_epochs: 0.5, final_lr_ratio: 0.01}
train: {batch_size: 1_024, steps: 200_000, accumulation: 2, clip_norm: null, amp: bfloat16, device: cuda}
checkpoint: {every_steps: 5000, keep_last: 3, resume: never}
verification: {sets: {lfw: lfw.bin, agedb_30: agedb_30.bin}, every_steps: 2000, best: agedb_30}
"""


def load(tmp_path: Path, text: str | bytes, *overrides: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(path, overrides)


def small(*overrides: str) -> Config:
    return parse_config(yaml.safe_load(SMALL), overrides, "small.yaml")


def failure(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        small(*overrides)
    return str(error.value)


# What a good file becomes


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
    }
    assert config.head.margin == ArcFaceConfig(scale=64.0, margin=0.5)
    assert config.head.sample_rate == 1.0
    assert config.optimizer == SGDConfig(lr=0.1, momentum=0.9, weight_decay=5e-4)
    assert config.schedule.name == "polynomial"
    assert config.schedule.warmup_steps is config.schedule.warmup_epochs is None
    assert config.train.clip_norm == 5.0
    assert config.checkpoint.resume == "auto"
    assert config.verification.sets == {}
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


# Numbers, booleans and text in YAML


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-4", 1e-4),
        ("1E-4", 1e-4),
        ("1.e-4", 1e-4),
        (".5", 0.5),
        ("+0.5", 0.5),
        ("5", 5.0),
        ("1_000.5", 1000.5),
        ("2e+2", 200.0),
    ],
)
def test_fractions_in_every_usual_notation(written: str, value: float) -> None:
    lr = small(f"optimizer.lr={written}").optimizer.lr
    assert lr == value
    assert isinstance(lr, float)


@pytest.mark.parametrize(
    ("written", "value"), [("10_000_000", 10**7), ("0o17", 15), ("0x1f", 31), ("+3", 3), ("0", 0)]
)
def test_whole_numbers_in_every_usual_notation(written: str, value: int) -> None:
    assert small(f"run.seed={written}").run.seed == value


@pytest.mark.parametrize("written", ["true", "True", "TRUE"])
def test_booleans(written: str) -> None:
    assert small(f"data.augment.flip={written}").data.augment.flip is True


@pytest.mark.parametrize("written", ["yes", "no", "on", "off", "y", "1", "0", "'true'"])
def test_only_true_and_false_are_booleans(written: str) -> None:
    assert re.search(
        r"data\.augment\.flip: must be true or false, got '?[a-z01]+'?$",
        failure(f"data.augment.flip={written}"),
    )


@pytest.mark.parametrize("written", ["no", "on", "2024-01-01", "1:30", "017", "=", "1_", "a.b", "'1e-4'"])
def test_text_stays_text(written: str) -> None:
    assert small(f"run.dir={written}").run.dir == Path(written.strip("'"))


@pytest.mark.parametrize(
    ("written", "got"),
    [("true", "true"), ("1.0", "1.0"), ("0.5", "0.5"), ("'8'", "'8'"), ("null", "null"), ("017", "'017'")],
)
def test_whole_numbers_are_strict(written: str, got: str) -> None:
    assert re.search(
        rf"train\.batch_size: must be a whole number.*, got {got}$", failure(f"train.batch_size={written}")
    )


def test_a_whole_number_with_an_exponent_is_shown_how_to_be_written() -> None:
    assert "train.batch_size: must be a whole number, written 1000, got 1000.0" in failure(
        "train.batch_size=1e3"
    )


@pytest.mark.parametrize("written", ["true", "'0.1'", "fast", "nan"])
def test_fractions_are_strict(written: str) -> None:
    assert "optimizer.lr: must be a valid number, got " in failure(f"optimizer.lr={written}")


@pytest.mark.parametrize("written", [".nan", ".inf", "-.inf", "1e400"])
@pytest.mark.parametrize("key", ["optimizer.lr", "train.clip_norm", "backbone.options.rate"])
def test_numbers_are_finite(written: str, key: str) -> None:
    assert f"{key}: must be a finite number, got " in failure(f"{key}={written}")


def test_a_number_beyond_64_bits_is_refused_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"config\.yaml: line 2, column 9: '9+\.\.\.9+' is not a whole number of at most 64 bits",
    ):
        load(tmp_path, "run:\n  seed: " + "9" * 5000)


# Files that are not a config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run:\n  dir: a: b\n", "line 2, column 9: mapping values are not allowed here"),
        ("run: {dir: a\n", "line 2, column 1: while parsing a flow mapping, expected ',' or '}'"),
        ("run:\n\tdir: a\n", r"line 2, column 1: .*found character '\\t' that cannot start any token"),
        ("run: {dir: a}\nrun: {dir: b}\n", "line 2, column 1: key 'run' is given twice, first in line 1"),
        (
            "run:\n  dir: a\n  seed: 1\n  dir: b\n",
            "line 4, column 3: key 'dir' is given twice, first in line 2",
        ),
        ("run: *nowhere\n", "line 1, column 6: found undefined alias 'nowhere'"),
        ("? [a]\n: 1\n", "line 1, column 3: while constructing a mapping, found unhashable key"),
        ("---\nrun: {}\n---\nrun: {}\n", "line 3, column 1: expected a single document"),
        ("run: !!python/object:os.system {}\n", "line 1, column 6: could not determine a constructor"),
        ("run: {seed: !!int x}\n", "line 1, column 13: 'x' is not a whole number of at most 64 bits"),
        ("run: {seed: !!float x}\n", "line 1, column 13: 'x' is not a number"),
        ("run: {seed: !!bool x}\n", "line 1, column 13: 'x' is not a boolean"),
        ("run: {seed: !!set {1}}\n", "line 1, column 13: could not determine a constructor"),
        ("run:\n  dir: \x00\n", r"line 2: U\+0000 is not allowed in YAML"),
        (b"run: \xff\n", "not UTF-8 text at byte 5"),
        ("[" * 1000, "nested too deeply"),
        ("- run\n", r"must hold sections, such as 'run:', got \['run'\]"),
        ("3\n", "must hold sections, such as 'run:', got 3"),
    ],
)
def test_what_is_no_config_says_where(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: " + message):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    with pytest.raises(ConfigError, match=f"{re.escape(str(path))}: cannot read the config: No such file"):
        load_config(path, [])
    with pytest.raises(ConfigError, match="cannot read the config: Is a directory"):
        load_config(tmp_path, [])


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbf" + SMALL.encode()) == small()


def test_merge_keys_work_and_may_be_overridden(tmp_path: Path) -> None:
    text = SMALL.replace("{lr: 0.1}", "{<<: {lr: 0.1, momentum: 0.8}, lr: 0.3}")
    assert load(tmp_path, text).optimizer == SGDConfig(lr=0.3, momentum=0.8)


def test_an_override_leaves_what_an_alias_shares_alone(tmp_path: Path) -> None:
    text = SMALL.replace("{name: iresnet50}", "{name: b, options: {one: &shared {a: 1}, two: *shared}}")
    assert load(tmp_path, text, "backbone.options.one.a=2").backbone.options == {
        "one": {"a": 2},
        "two": {"a": 1},
    }


def test_an_alias_inside_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"backbone\.options.*[Rr]ecursion"):
        load(tmp_path, SMALL.replace("{name: iresnet50}", "{name: b, options: &x {a: *x}}"))


def test_an_empty_file_lacks_each_required_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "")
    assert [line.partition("config.yaml: ")[2] for line in str(error.value).splitlines()] == [
        "run: section is required, with dir",
        "data: section is required, with train",
        "backbone: section is required, with name",
        "optimizer: section is required, with lr",
        "train: section is required, with batch_size",
    ]


# Unknown and missing keys


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("head.sampel_rate=0.1", r"head\.sampel_rate: unknown key; did you mean head\.sample_rate\?"),
        ("data.augment.flop=true", r"data\.augment\.flop: unknown key; did you mean data\.augment\.flip\?"),
        ("head.margin.scal=1", r"head\.margin\.scal: unknown key; did you mean head\.margin\.scale\?"),
        ("haed.sample_rate=0.1", r"haed: unknown section; did you mean head\?"),
        ("lr=0.1", r"lr: unknown section; did you mean optimizer\.lr\?"),
        (
            "head.scale=1",
            r"head\.scale: unknown key; did you mean data\.augment\.scale or head\.margin\.scale\?",
        ),
        (
            "data.batch_size=1",
            r"data\.batch_size: .*did you mean train\.batch_size or verification\.batch_size\?",
        ),
        (
            "head.margin.m2=0.1",
            r"head\.margin\.m2: name: arcface has no such key; it belongs to name: combined",
        ),
        ("optimizer.betas=[0, 0]", r"optimizer\.betas: name: sgd has no such key; it belongs to name: adamw"),
        ("run.zzz=1", r"run\.zzz: unknown key; run has dir, seed$"),
        ("zzz.a=1", r"zzz: unknown section; the config has run, data, backbone, .*verification$"),
        ("head.margin.zzz=1", r"head\.margin\.zzz: unknown key; head\.margin has .*margin$"),
    ],
)
def test_an_unknown_key_names_the_one_that_was_meant(override: str, message: str) -> None:
    assert re.search(message, failure(override))


def test_an_unknown_key_does_not_list_the_keys_of_other_variants() -> None:
    assert "m1" not in failure("head.margin.zzz=1")


def test_a_key_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: 1: unknown section"):
        load(tmp_path, SMALL + "1: 2\n")
    assert "verification.sets.1: a key must be text, got 1; put it in quotes" in failure(
        "verification.sets={1: a}"
    )
    assert "backbone.options.a.0.1: a key must be text, got 1" in failure("backbone.options={a: [{1: 2}]}")


@pytest.mark.parametrize(
    "key", ["run.dir", "data.train", "backbone.name", "optimizer.lr", "train.batch_size"]
)
def test_what_the_caller_must_decide_has_no_default(key: str) -> None:
    section, name = key.split(".")
    mapping = yaml.safe_load(SMALL)
    del mapping[section][name]
    with pytest.raises(ConfigError, match=rf"small\.yaml: {re.escape(key)}: is required: .+\."):
        parse_config(mapping, [], "small.yaml")


# Rules


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


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("head.weight_dtype", "must be 'float32', 'float64' or 'bfloat16'"),
        ("head.compute_dtype", "must be 'float32', 'float64' or 'bfloat16'"),
        ("head.unsampled", "must be 'dense' or 'frozen'"),
        ("head.margin.name", "must be one of arcface, cosface, normalized_softmax, combined"),
        ("head.margin.margin_gradient", "must be 'exact' or 'straight_through'"),
        ("head.margin.beyond_pi", "must be 'hard' or 'easy'"),
        ("optimizer.name", "must be one of sgd, adamw"),
        ("schedule.name", "must be 'polynomial', 'cosine' or 'constant'"),
        ("train.amp", "must be 'bfloat16'"),
        ("train.device", "must be 'auto', 'cpu' or 'cuda'"),
        ("backbone.name", "must match pattern"),
    ],
)
def test_a_choice_lists_what_there_is(key: str, message: str) -> None:
    text = failure(f"{key}=some thing")
    assert text.startswith(f"override '{key}=some thing': {key}: {message}")
    assert text.endswith("got 'some thing'")


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


@pytest.mark.parametrize("bad", ["0.9", "[0.9]", "[0.9, 0.9, 0.9]", "'ab'"])
def test_betas_are_two(bad: str) -> None:
    assert "optimizer.betas: must be a list of two numbers, got " in failure(
        f"optimizer={{name: adamw, lr: 1, betas: {bad}}}"
    )


@pytest.mark.parametrize("bad", ["1", "-0.1", "true", "x"])
def test_each_beta_has_its_rule(bad: str) -> None:
    assert "optimizer.betas.1: must be " in failure(f"optimizer={{name: adamw, lr: 1, betas: [0.9, {bad}]}}")


@pytest.mark.parametrize("section", ["head", "head.margin", "optimizer", "train", "data.augment"])
@pytest.mark.parametrize(("bad", "got"), [("3", "3"), ("null", "null"), ("[1]", r"\[1\]")])
def test_a_section_is_a_mapping(section: str, bad: str, got: str) -> None:
    text = failure(f"{section}={bad}")
    assert re.search(rf"{re.escape(section)}: must be a section of keys and values, got {got}$", text)


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


# Overrides


def test_overrides_apply_in_order_and_reach_every_depth() -> None:
    config = small(
        "head.sample_rate=0.1",
        "head.sample_rate=0.2",
        "verification.sets={glyphs: path}",
        "verification.sets.other=a=b",
        "train.amp=null",
        "backbone.options.depth=[1, 2]",
        "backbone.options.stem.kernel=3",
        "data.augment={flip: true}",
        " train.clip_norm = 1e-1",
    )
    assert config.head.sample_rate == 0.2
    assert config.verification.sets == {"glyphs": Path("path"), "other": Path("a=b")}
    assert config.train.amp is None
    assert config.backbone.options == {"depth": [1, 2], "stem": {"kernel": 3}}
    assert config.data.augment.flip is True
    assert config.train.clip_norm == 0.1


def test_a_config_can_come_from_overrides_alone() -> None:
    overrides = ["run.dir=runs/one", "data.train=faces.rec", "backbone.name=iresnet50", "optimizer.lr=0.1"]
    assert load_config(None, [*overrides, "train={batch_size: 128, epochs: 3}"]) == small()
    with pytest.raises(ConfigError, match="command line: train: section is required, with batch_size"):
        load_config(None, overrides)


def test_overrides_do_not_change_the_mapping() -> None:
    mapping = yaml.safe_load(SMALL)
    parse_config(mapping, ["train.batch_size=1", "head.sample_rate=0.5"], "small.yaml")
    assert mapping == yaml.safe_load(SMALL)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("head.sample_rate", "override 'head.sample_rate': has no '='; write section.key=value"),
        ("--help", "override '--help': has no '='"),
        ("=1", "override '=1': '' is not a key; write section.key=value"),
        ("head..margin=1", "override 'head..margin=1': 'head..margin' is not a key"),
        ("run.dir=", "override 'run.dir=': has no value; write run.dir=null for none"),
        (
            "head.margin={name: ",
            "override 'head.margin={name: ': line 1, column 8: .*expected the node content",
        ),
        (
            "run={dir: a, dir: b}",
            "override 'run={dir: a, dir: b}': line 1, column 10: key 'dir' is given twice",
        ),
        ("run.dir.x=1", "override 'run.dir.x=1': run.dir is not a section, it is 'runs/one' in small.yaml"),
        (
            "head.sample_rate=2",
            "override 'head.sample_rate=2': head.sample_rate: must be less than or equal to 1, got 2",
        ),
        ("head={sample_rate: 2}", "override 'head={sample_rate: 2}': head.sample_rate: must be"),
        ("zzz.a=1", "small.yaml with override 'zzz.a=1': zzz: unknown section"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    assert re.match(message, failure(override))


def test_the_last_override_of_a_key_answers_for_it() -> None:
    text = failure("head.sample_rate=0.5", "head={sample_rate: 3}", "head.sample_rate=2")
    assert text.startswith("override 'head.sample_rate=2': ")
    text = failure("head.sample_rate=0.5", "head={sample_rate: 3}")
    assert text.startswith("override 'head={sample_rate: 3}': ")


def test_a_long_value_is_cut() -> None:
    assert len(failure(f"run.seed='{'x' * 5000}'")) < 400


def test_each_problem_has_a_line_that_names_its_source(tmp_path: Path) -> None:
    text = SMALL.replace("iresnet50", "''").replace("epochs: 3", "epochs: 3, logevery: 1")
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text, "head.sample_rate=0", "data.augment.fill=300")
    path = tmp_path / "config.yaml"
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("override 'data.augment.fill=300': data.augment.fill: must be less than")
    assert lines[1].startswith(f"{path}: backbone.name: must match pattern")
    assert lines[2].startswith("override 'head.sample_rate=0': head.sample_rate: must be greater than 0")
    assert lines[3] == f"{path}: train.logevery: unknown key; did you mean train.log_every?"


def test_a_mapping_from_python_obeys_the_same_rules() -> None:
    mapping = yaml.safe_load(SMALL)
    assert parse_config(mapping | {"run": {"dir": Path("runs/one")}}, [], "python") == small()
    with pytest.raises(ConfigError, match=r"python: backbone\.options\.a: .*JSON value, got \{1\}"):
        parse_config(mapping | {"backbone": {"name": "b", "options": {"a": {1}}}}, [], "python")
    with pytest.raises(ConfigError, match=r"python: must hold sections, such as 'run:', got \[\]"):
        parse_config([], [], "python")  # type: ignore[arg-type]


# Saved with the run


def leaves(model: BaseModel, prefix: str = "") -> Iterator[str]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("text", [SMALL, FULL, SMALL.replace("lr: 0.1", "lr: 1, name: adamw")])
def test_the_saved_config_has_every_value_and_loads_to_an_equal_config(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, text)
    saved = dump_config(config)
    assert load(tmp_path, saved) == config
    assert dump_config(load(tmp_path, saved)) == saved
    content = yaml.safe_load(saved)
    for key in leaves(config):
        node = content
        for part in key.split("."):
            assert part in node, key
            node = node[part]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
TRAPS = st.sampled_from(
    ["1e-4", "no", "null", "010", "0o7", "1:30", "2024-01-01", "~x", "<<", "=", ".nan", "a: b"]
)
WORDS = TEXT | TRAPS
PATHS = WORDS.filter(lambda text: not text.startswith("~"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
MARGINS = st.one_of(
    st.fixed_dictionaries({"scale": POSITIVE}, optional={"margin": st.floats(0, 3)}),
    st.fixed_dictionaries({"name": st.just("cosface"), "margin": st.floats(0, 1.9)}),
    st.fixed_dictionaries({"name": st.just("combined"), "m1": st.floats(1, 3), "m3": st.floats(0, 1)}),
)
OPTIMIZERS = st.one_of(
    st.fixed_dictionaries({"lr": POSITIVE}, optional={"head_lr": st.none() | POSITIVE}),
    st.fixed_dictionaries({"name": st.just("adamw"), "lr": POSITIVE, "eps": POSITIVE}),
)
LENGTHS = st.one_of(
    st.fixed_dictionaries({"epochs": POSITIVE}), st.fixed_dictionaries({"steps": st.integers(1, 2**60)})
)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_config_survives_being_saved(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    sets = data.draw(st.dictionaries(WORDS, PATHS, max_size=3))
    mapping: dict[str, Any] = {
        "run": {"dir": data.draw(PATHS), "seed": data.draw(st.integers(0, 2**63 - 1))},
        "data": {"train": data.draw(PATHS), "augment": {"flip": data.draw(st.booleans())}},
        "backbone": {"name": "b", "options": data.draw(st.dictionaries(WORDS, JSON, max_size=3))},
        "head": {"margin": data.draw(MARGINS)},
        "optimizer": data.draw(OPTIMIZERS),
        "train": data.draw(LENGTHS) | {"batch_size": data.draw(st.integers(1, 2**40))},
        "checkpoint": {"resume": data.draw(WORDS)},
        "verification": {"sets": sets, "best": data.draw(st.none() | st.sampled_from([*sets, None]))},
    }
    config = parse_config(mapping, [], "hypothesis")
    path = tmp_path_factory.getbasetemp() / "saved.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path, []) == config


# The schema


def described(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key of each section; a section's own description stands in its definition."""
    for model in [schema, *schema["$defs"].values()]:
        for name, field in model.get("properties", {}).items():
            yield f"{model['title']}.{name}", schema["$defs"].get(field.get("$ref", "")[8:], {}) | field


def test_the_schema_describes_every_key() -> None:
    fields = dict(described(config_schema()))
    assert "HeadConfig.sample_rate" in fields
    assert fields["HeadConfig.sample_rate"]["exclusiveMinimum"] == 0
    for name, field in fields.items():
        assert re.fullmatch(r"[^\s].{5,}\.", field.get("description", ""), flags=re.DOTALL), name


def test_the_schema_accepts_what_loads_and_refuses_what_does_not() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(config_schema())
    jsonschema.Draft202012Validator.check_schema(config_schema())

    def errors(*overrides: str) -> list[Any]:
        content = yaml.safe_load(SMALL)
        for override in overrides:
            section, value = override.split("=")
            content[section] = yaml.safe_load(value)
        return list(validator.iter_errors(content))

    assert not list(validator.iter_errors(yaml.safe_load(dump_config(small()))))
    assert not errors()
    assert not errors("head={margin: {scale: 30}}")
    assert not errors("head={margin: {name: cosface, margin: 0.2}}")
    assert not errors("optimizer={name: adamw, lr: 1, betas: [0.9, 0.9]}")
    assert errors("head={margin: {name: cosface, m2: 0.2}}")
    assert errors("head={margin: {m2: 0.2}}")
    assert errors("optimizer={name: adamw, lr: 1, momentum: 0.9}")
    assert errors("head={sample_rate: 0}")
    assert errors("haed={}")
