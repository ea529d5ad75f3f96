"""The list stages: what it may say, and what is wrong with it, told when the config is read."""

import re
from pathlib import Path

import pytest
import yaml

from partialfc.config import Config, config_schema, dump_config, load_config, parse_config
from partialfc.config.staged import settings, taken
from partialfc.errors import ConfigError
from partialfc.training.builders.head import MARGINS
from tests.config.cases import SMALL, failure, small

STAGES = """
stages:
  - {until_epoch: 5, head.margin.margin: {from: 0.0, to: 0.2}}
  - {from_epoch: 20, head.sample_rate: 1.0}
"""


def staged(*stages: str) -> str:
    return f"stages=[{', '.join('{' + stage + '}' for stage in stages)}]"


def test_stages_are_read_and_saved_as_written(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(SMALL + STAGES)
    config = load_config(path)
    first, second = config.stages
    assert (first.unit, first.start, first.until) == ("epoch", 0, 5.0)
    assert first.changes == {"head.margin.margin": {"from": 0.0, "to": 0.2}}
    assert (second.start, second.until, second.changes) == (20.0, None, {"head.sample_rate": 1.0})
    assert parse_config(yaml.safe_load(dump_config(config)), [], "saved") == config
    assert small().stages == ()


def test_an_editor_knows_the_form() -> None:
    stage = config_schema()["$defs"]["StageConfig"]
    assert {"from_step", "from_epoch", "until_step", "until_epoch"} == stage["properties"].keys()
    numbers, line = stage["additionalProperties"]["anyOf"]
    assert numbers == {"type": ["number", "null"]}
    assert line["required"] == ["from", "to"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            ["until_epoch: 5, head.margin.margin: {from: 0, to: 4}"],
            r"stages.0.head.margin.margin: must be less than 3.14159\d+, got 4.0",
        ),
        (
            ["from_step: 5, head.sample_rate: {from: 0, to: 1}"],
            "stages.0.head.sample_rate: must be greater than 0, got 0.0",
        ),
        (["from_step: 5, head.sample_rate: 0"], "stages.0.head.sample_rate: must be greater than 0, got 0"),
        (["from_step: 5, head.margin.scale: null"], "stages.0.head.margin.scale: must be a number, got null"),
        (
            ["until_epoch: 5, head.margin.m1: 3"],
            "stages.0.head.margin.m1: head.margin is arcface, of which a stage can change head.margin.scale, "
            "head.margin.margin",
        ),
        (
            ["until_epoch: 5, head.sample_rat: 1"],
            "stages.0.head.sample_rat: no setting that a stage can change; did you mean head.sample_rate?",
        ),
        (
            ["until_epoch: 5, optimizer.lr: 1"],
            "stages.0.optimizer.lr: no setting that a stage can change; those of this config are head",
        ),
        (
            ["until_epoch: 5, head.margin.name: cosface"],
            "stages.0.head.margin.name: must be a number, or {from: A, to: B} with numbers for a line, "
            "got 'cosface'",
        ),
        (
            ["until_epoch: 5, head.sample_rate: {from: 0.1}"],
            "stages.0.head.sample_rate: must be a number, or {from: A, to: B} .*, got {'from': 0.1}",
        ),
        (
            ["until_epoch: 5, head.sample_rate: true"],
            "stages.0.head.sample_rate: must be a number, .* got true",
        ),
        (
            ["until_epoch: 5, head.sample_rate: .nan"],
            "stages.0.head.sample_rate: must be a number, .* got nan",
        ),
        (
            ["until_epoch: 5, head.sample_rate: 0.1", "from_epoch: 4, head.sample_rate: 1"],
            "stages.1.head.sample_rate: stages.0 changes this too, from epoch 0 until 5, and this stage from "
            "epoch 4; let one end before the other begins",
        ),
        (
            ["until_step: 5, head.sample_rate: 0.1", "from_epoch: 4, head.sample_rate: 1"],
            "stages: must all count in steps or all in epochs; some do this and some that, got",
        ),
        (
            ["until_epoch: 5, from_step: 2, head.sample_rate: 0.1"],
            "stages.0: must count in steps or in epochs, got from_step and until_epoch",
        ),
        (
            ["from_epoch: 3, until_epoch: 2, head.sample_rate: 1"],
            "stages.0: must begin before it ends, got from 3",
        ),
        (["until_epoch: -5, head.sample_rate: 1"], "stages.0.until_epoch: must be greater than 0, got -5"),
        (["until_step: 1.5, head.sample_rate: 1"], "stages.0.until_step: must be a whole number, got 1.5"),
        (["head.sample_rate: 1"], "stages.0: must have a begin or an end .* the whole run is no stage"),
        (["from_epoch: 3"], "stages.0: changes no setting; name one, such as head.sample_rate: 0.1"),
    ],
    ids=lambda value: value[0][:50] if isinstance(value, list) else "",
)
def test_bad_stages_are_refused_in_one_message_each(stages: list[str], message: str) -> None:
    said = failure(staged(*stages)).splitlines()
    assert len(said) == 1, said
    assert re.search(message, said[0].split(": ", 1)[1]), said


@pytest.mark.parametrize("value", ["{a: 1}", "3"])
def test_stages_are_a_list(value: str) -> None:
    rule = "stages: must be a list such as [{from_epoch: 20, head.sample_rate: 1.0}]"
    assert rule in failure(f"stages={value}")


def test_rules_between_keys_hold_all_along_two_lines() -> None:
    """Each of the two is right by itself, and l_m passes u_m on the way."""
    magface = "head.margin={name: magface, l_m: 0.3, u_m: 0.8}"
    both = "head.margin.l_m: {from: 0.1, to: 0.9}, head.margin.u_m: {from: 0.7, to: 1.0}"
    small(magface, staged(f"until_epoch: 4, {both}"))
    both = both.replace("to: 1.0", "to: 0.5")
    with pytest.raises(ConfigError, match=r"stages: by epoch 4, head\.margin: u_m is 0.5; .* at least l_m"):
        small(magface, staged(f"from_epoch: 2, until_epoch: 4, {both}"))


def test_a_filter_by_cosine_is_refused_where_there_are_none() -> None:
    softmax, rule = "head.margin={name: softmax}", "must be null with head.margin.name: softmax, where the"
    said = failure(softmax, staged("from_epoch: 9, head.interclass_filter: 0.5"))
    assert f"stages.0.head.interclass_filter: {rule}" in said


@pytest.mark.parametrize(
    ("overrides", "possible"),
    [
        (["head={name: pool, pool: {size: 0.1}}", "data.sampler=half_identities"], []),
        (["head.margin={name: softmax}"], ["head.sample_rate"]),
        ([], ["head.sample_rate", "head.interclass_filter"]),
    ],
    ids=["pool", "softmax", "usual"],
)
def test_only_what_a_stage_can_change_is_proposed(overrides: list[str], possible: list[str]) -> None:
    numbers = [key for key in settings(small(*overrides)) if key.startswith("head.margin.")]
    said = failure(*overrides, staged("from_epoch: 1, zzz: 1"))
    listed = said.partition("those of this config are ")[2].split(", ")
    assert listed == possible + numbers
    for key in listed:
        value = settings(small(*overrides))[key]
        assert small(*overrides, staged(f"from_epoch: 1, {key}: {0.5 if value is None else value}")).stages


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u_m: {from: 0.1, to: 0.8}", "from epoch 2 on, head.margin: u_m is 0.1; it must be at least l_m"),
        ("u_m: {from: 0.8, to: 0.1}", "by epoch 4, head.margin: u_m is 0.1; it must be at least l_m"),
        ("u_m: 0.1", "from epoch 2 on, head.margin: u_m is 0.1; it must be at least l_m"),
        ("u_a: {from: 5, to: 110}", "from epoch 2 on, head.margin: u_a is 5; it must be above l_a"),
    ],
)
def test_a_rule_between_keys_is_told_once_with_the_end_that_breaks_it(line: str, message: str) -> None:
    said = failure(
        "head.margin={name: magface}", staged(f"from_epoch: 2, until_epoch: 4, head.margin.{line}")
    )
    assert len(said.splitlines()) == 1
    assert f"stages: {message}" in said


def test_a_value_on_a_line_is_told_once_even_where_other_stages_begin_within_it() -> None:
    said = failure(
        staged(
            "until_epoch: 4, head.margin.margin: {from: -1, to: 0.2}", "from_epoch: 1, head.sample_rate: 1"
        )
    )
    assert len(said.splitlines()) == 1
    assert said.endswith("stages.0.head.margin.margin: must be greater than or equal to 0, got -1.0")


def test_a_line_that_ends_with_the_run_is_told_so() -> None:
    line = staged("from_epoch: 2, head.margin.u_m: {from: 0.8, to: 0.1}")
    assert "stages: by the end of the run, head.margin: u_m is 0.1" in failure(
        "head.margin={name: magface}", line
    )


@pytest.mark.parametrize("name", ["sphereface", "large_margin_softmax"])
@pytest.mark.parametrize("line", ["{from: 1, to: 4}", "{from: 1.5, to: 9}"])
def test_a_whole_number_moves_on_no_line(name: str, line: str) -> None:
    margin = f"head.margin={{name: {name}}}"
    small(margin, staged("until_epoch: 4, head.margin.m: 2"))
    said = failure(margin, staged(f"until_epoch: 4, head.margin.m: {line}"))
    assert len(said.splitlines()) == 1
    assert (
        "stages.0.head.margin.m: is a whole number, which a stage can set but not move on a line; write one "
        "number for each stage, such as head.margin.m: 4, got {'from': "
    ) in said


@pytest.mark.parametrize("name", MARGINS)
def test_every_other_number_moves_on_a_line(name: str) -> None:
    margin = f"head.margin={{name: {name}}}"
    numbers = settings(small(margin))
    for key, value in numbers.items():
        if not key.endswith(".m") and value is not None:
            small(margin, staged(f"until_epoch: 4, {key}: {{from: {value}, to: {value}}}"))


def test_where_each_class_has_a_margin_a_stage_cannot_change_it() -> None:
    given = "head.class_margins=margins.npy"
    small(given, staged("until_epoch: 4, head.margin.scale: 32"))
    with pytest.raises(
        ConfigError, match=r"a stage can change head\.margin\.scale; each class has its own margin"
    ):
        small(given, staged("until_epoch: 4, head.margin.margin: 0.1"))


def test_a_stage_weighs_the_losses_that_the_config_has() -> None:
    losses = "losses=[{name: triplet, weight: 0.5}, {name: center, weight: 0.1}]"
    config = small(losses, staged("until_epoch: 3, losses.center.weight: 0"))
    assert taken(config, "losses.center.weight") == [0, 0.1]
    for stage, message in (
        (
            "losses.center.weight: -1",
            "stages.0.losses.center.weight: must be greater than or equal to 0, got -1",
        ),
        ("losses.contrastive.weight: 1", "did you mean losses.center.weight?"),
        ("losses.triplet.margin: 1", "stages.0.losses.triplet.margin: no setting that a stage can change"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            small(losses, staged(f"until_epoch: 3, {stage}"))


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = failure(staged("until_step: 3, head.sample_rate: 2", "from_step: 3, head.margin.margin: -1"))
    assert "stages.0.head.sample_rate: must be less than or equal to 1, got 2" in said
    assert "stages.1.head.margin.margin: must be greater than or equal to 0, got -1" in said


def test_stages_that_meet_or_change_different_settings_do_not_overlap() -> None:
    small(
        staged(
            "until_epoch: 5, head.sample_rate: 0.1",
            "from_epoch: 5, until_epoch: 7, head.sample_rate: {from: 0.1, to: 1}",
            "from_epoch: 2, head.margin.scale: 32",
        )
    )


@pytest.mark.parametrize(
    ("stages", "values"),
    [
        ([], [0.5]),
        (["from_epoch: 2, head.sample_rate: 1"], [1, 0.5]),
        (["until_epoch: 2, head.sample_rate: {from: 0.1, to: 0.3}"], [0.1, 0.3, 0.5]),
        (["from_epoch: 2, head.sample_rate: 0.3", "until_epoch: 2, head.sample_rate: 0.1"], [0.1, 0.3]),
        (["until_epoch: 1, head.sample_rate: 0.1", "from_epoch: 2, head.sample_rate: 0.2"], [0.1, 0.2, 0.5]),
    ],
    ids=["no stage", "at the end", "at first", "always", "with a gap"],
)
def test_the_values_that_a_setting_takes(stages: list[str], values: list[float]) -> None:
    config: Config = small("head.sample_rate=0.5", *([staged(*stages)] if stages else []))
    assert taken(config, "head.sample_rate") == values
