"""Stages as a pure function of the step, beside a plain twin."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partialfc.training.stages import Stage, Stages

MARGIN, RATE, FILTER = "head.margin.margin", "head.sample_rate", "head.interclass_filter"
USUAL = {MARGIN: 0.5, RATE: 0.1, FILTER: None, "head.margin.scale": 64.0}


def stage(start: int, stop: int, **changes: Any) -> Stage:
    """margin=(a, b) is a line, rate=a a number that holds."""
    keys = {"margin": MARGIN, "rate": RATE, "filter": FILTER}
    named = {keys[name]: change for name, change in changes.items()}
    return Stage(
        start=start,
        stop=stop,
        held={key: change for key, change in named.items() if not isinstance(change, tuple)},
        ramps={key: change for key, change in named.items() if isinstance(change, tuple)},
    )


def test_a_margin_grows_and_then_is_fixed_and_all_classes_come_at_the_end():
    stages = Stages([stage(0, 5, margin=(0.0, 0.2)), stage(8, 10, rate=1.0)], USUAL | {MARGIN: 0.2})
    margins = [stages.values(step)[MARGIN] for step in range(10)]
    assert margins == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.2, 0.2, 0.2, 0.2])
    assert [stages.values(step)[RATE] for step in range(10)] == [0.1] * 8 + [1.0] * 2


def test_only_what_stages_change_is_told():
    assert Stages([], USUAL).values(3) == {}
    assert Stages([stage(5, 9, rate=1.0)], USUAL).values(3) == {RATE: 0.1}


def test_null_switches_off_for_a_stage():
    stages = Stages([stage(0, 3, filter=None)], USUAL | {FILTER: 0.4})
    assert [stages.values(step)[FILTER] for step in range(5)] == [None, None, None, 0.4, 0.4]


def test_stages_of_different_settings_may_be_in_force_together():
    stages = Stages([stage(0, 4, margin=(0.0, 0.4)), stage(2, 6, rate=0.5, filter=0.3)], USUAL)
    assert stages.values(3) == pytest.approx({MARGIN: 0.3, RATE: 0.5, FILTER: 0.3})
    assert [stages.active(step) for step in (1, 3, 5, 7)] == [
        (True, False),
        (True, True),
        (False, True),
        (False, False),
    ]


def test_a_setting_moves_in_the_steps_of_its_line():
    stages = Stages([stage(2, 5, margin=(0.0, 0.4), rate=1.0), stage(5, 9, margin=(0.3, 0.3))], USUAL)
    assert [stages.moving(step) for step in (1, 2, 4, 5)] == [set(), {MARGIN}, {MARGIN}, set()]


def test_the_first_step_of_a_stage_and_the_first_after_it_are_told():
    stages = Stages([stage(0, 4, rate=1.0), stage(4, 9, rate=0.5), stage(3, 3, margin=1.0)], USUAL)
    begins = {step: [number for number, _ in stages.beginning(step)] for step in range(11)}
    ends = {step: [number for number, _ in stages.ending(step)] for step in range(11)}
    assert {step: numbers for step, numbers in begins.items() if numbers} == {0: [0], 4: [1]}
    assert {step: numbers for step, numbers in ends.items() if numbers} == {4: [0], 9: [1]}


@given(
    start=st.integers(0, 50),
    length=st.integers(1, 50),
    line=st.tuples(st.floats(-10, 10), st.floats(-10, 10)),
    step=st.integers(0, 120),
)
def test_a_line_is_exact_at_its_first_step_and_never_leaves_its_ends(start, length, line, step):
    stages = Stages([stage(start, start + length, margin=line)], USUAL)
    found = stages.values(step)[MARGIN]
    assert found is not None
    if not start <= step < start + length:
        assert found == 0.5
        return
    assert min(line) - 1e-12 <= found <= max(line) + 1e-12
    assert found == pytest.approx(line[0] * (1 - (step - start) / length) + line[1] * (step - start) / length)
    assert stages.values(start)[MARGIN] == line[0]
