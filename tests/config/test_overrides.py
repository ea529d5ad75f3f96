"""Overrides: what they change, in which order, and how a wrong one is named."""

import re
from pathlib import Path

import pytest
import yaml

from partialfc.config import load_config, parse_config
from partialfc.errors import ConfigError
from tests.config.cases import SMALL, failure, load, small


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


def test_an_override_leaves_what_an_alias_shares_alone(tmp_path: Path) -> None:
    text = SMALL.replace("{name: iresnet50}", "{name: b, options: {one: &shared {a: 1}, two: *shared}}")
    assert load(tmp_path, text, "backbone.options.one.a=2").backbone.options == {
        "one": {"a": 2},
        "two": {"a": 1},
    }


def test_a_config_can_come_from_overrides_alone() -> None:
    overrides = ["run.dir=runs/one", "data.train=faces.rec", "backbone.name=iresnet50", "optimizer.lr=0.1"]
    assert load_config(None, [*overrides, "train={batch_size: 128, epochs: 3}"]) == small()
    with pytest.raises(ConfigError, match="command line: train: section is required, with batch_size"):
        load_config(None, overrides)


def test_overrides_do_not_change_the_mapping() -> None:
    mapping = yaml.safe_load(SMALL)
    parse_config(mapping, ["train.batch_size=1", "head.sample_rate=0.5"], "small.yaml")
    assert mapping == yaml.safe_load(SMALL)


EXCLUSIVE = [
    ("train", "epochs: 3", "steps", 100),
    ("train", "steps: 100", "epochs", 3),
    *(
        ("checkpoint", f"every_{a}: 2", f"every_{b}", 3)
        for a, b in (("steps", "epochs"), ("epochs", "steps"))
    ),
    ("verification", "every_epochs: 2", "every_steps", 3),
    ("schedule", "warmup_epochs: 1", "warmup_steps", 5),
    ("schedule", "warmup_epochs: 1", "warmup_ratio", 0.1),
    ("schedule", "warmup_ratio: 0.1", "warmup_steps", 5),
    ("schedule", "name: step, milestone_epochs: [1]", "milestone_steps", (5,)),
]


@pytest.mark.parametrize(("section", "of_file", "key", "value"), EXCLUSIVE, ids=lambda value: str(value))
def test_an_override_replaces_what_the_file_gave_in_another_unit(
    tmp_path: Path, section: str, of_file: str, key: str, value: object
) -> None:
    mapping = yaml.safe_load(SMALL)
    for name in ("steps", "epochs") if section == "train" else ():
        mapping["train"].pop(name, None)
    mapping[section] = mapping.get(section, {}) | yaml.safe_load(f"{{{of_file}}}")
    before, text = yaml.safe_load(f"{{{of_file}}}"), yaml.safe_dump(mapping)
    written = list(value) if isinstance(value, tuple) else value
    section_now = getattr(load(tmp_path, text, f"{section}.{key}={written}"), section)
    assert getattr(section_now, key) == value
    other = [*before][-1]
    assert not getattr(section_now, other)
    for pair in ((other, key), (key, other)):
        values = {key: written, other: before[other]}
        overrides = [f"{section}.{name}={values[name]}" for name in pair]
        with pytest.raises(ConfigError, match=rf"overrides .*{section}.*(one of|either)"):
            load(tmp_path, text, *overrides)


def test_a_stage_may_begin_in_another_unit(tmp_path: Path) -> None:
    text = SMALL + "stages: [{from_epoch: 1, head.sample_rate: 0.5}]\n"
    assert load(tmp_path, text, "stages.0.from_step=7").stages[0].start == 7


def test_null_replaces_nothing(tmp_path: Path) -> None:
    text = SMALL + "schedule: {warmup_epochs: 1}\n"
    assert load(tmp_path, text, "schedule.warmup_steps=null").schedule.warmup_epochs == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("head.sample_rate", "override 'head.sample_rate': has no '='; write section.key=value"),
        ("--help", "override '--help': has no '='"),
        ("=1", "override '=1': '' is not a key; write section.key=value"),
        ("head..margin=1", "override 'head..margin=1': 'head..margin' is not a key"),
        ("run.dir=", "override 'run.dir=': has no value; write run.dir=VALUE, null where"),
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


WARM_UP = "schedule.warmup_epochs: must be less than train.epochs, 3.0, got 3.0"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["schedule.warmup_epochs=3"], f"override 'schedule.warmup_epochs=3': {WARM_UP}"),
        (["schedule={warmup_epochs: 3}"], f"override 'schedule={{warmup_epochs: 3}}': {WARM_UP}"),
        (
            ["schedule.warmup_epochs=3", "train.epochs=3", "run.dir=x"],
            f"overrides 'schedule.warmup_epochs=3', 'train.epochs=3': {WARM_UP}",
        ),
        (
            ["head.unsampled=dense", "optimizer={name: adamw, lr: 0.1}"],
            "overrides 'head.unsampled=dense', 'optimizer={name: adamw, lr: 0.1}': head.unsampled: must be",
        ),
        (
            ["objective={name: pfe, backbone_from: x}", "run.dir=x"],
            "small.yaml with override 'objective={name: pfe, backbone_from: x}': data.sampler: must be",
        ),
        (["train.epochs=null"], "small.yaml with override 'train.epochs=null': train: give exactly one of"),
        (
            ["head={name: pool, pool: {size: 0.1}}", "head.sample_rate=0.5"],
            "overrides 'head={name: pool, pool: {size: 0.1}}', 'head.sample_rate=0.5': head: sample_rate is",
        ),
        (
            ["optimizer.name=adamw", "optimizer.momentum=0.5"],
            "overrides 'optimizer.name=adamw', 'optimizer.momentum=0.5': optimizer.momentum: name: adamw has",
        ),
        (
            ["objective.name=distill"],
            "small.yaml with override 'objective.name=distill': objective.teacher_from: is required",
        ),
        (
            ["head.margin.name=softmax", "stages=[{from_epoch: 1, head.margin.margin: 0.1}]"],
            "overrides 'head.margin.name=softmax', 'stages=[{from_epoch: 1, head.margin.margin: 0.1}]': "
            "stages.0.head.margin.margin: head.margin is softmax, of which",
        ),
        (
            ["head.margin=softmax", "head.margin.scale=1"],
            "override 'head.margin.scale=1': head.margin is not a section, it is 'softmax' in override "
            "'head.margin=softmax'",
        ),
    ],
    ids=lambda value: value.rpartition("'")[2][:60].strip(": ") if isinstance(value, str) else "",
)
def test_every_override_that_a_message_can_come_from_is_named(overrides: list[str], message: str) -> None:
    text = failure(*overrides)
    assert message in text
    assert text.startswith(message.partition(":")[0].split(" '")[0])


def test_a_file_that_breaks_a_rule_alone_is_named_alone(tmp_path: Path) -> None:
    text = SMALL + "schedule: {warmup_epochs: 3}\n"
    with pytest.raises(ConfigError, match=rf"config\.yaml: {re.escape(WARM_UP)}"):
        load(tmp_path, text, "run.dir=x", "head.sample_rate=0.5")
    with pytest.raises(ConfigError, match=rf"config\.yaml with override 'train\.epochs=3': {WARM_UP}"):
        load(tmp_path, text, "run.dir=x", "train.epochs=3")


def test_an_override_that_a_later_one_replaced_is_not_named() -> None:
    text = failure("train.epochs=2", "schedule.warmup_epochs=1", "train={batch_size: 8, epochs: 1}")
    assert text.startswith("overrides 'schedule.warmup_epochs=1', 'train={batch_size: 8, epochs: 1}': sched")
