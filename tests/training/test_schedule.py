"""The learning rate at every kind of step, against closed forms and by properties."""

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partialfc.config import ScheduleConfig
from partialfc.training.builders.schedule import build_schedule
from partialfc.training.schedule import Schedule

SHAPES = ("polynomial", "cosine", "constant", "step")


def rates(schedule: Schedule) -> list[float]:
    return [schedule(step) for step in range(schedule.total_steps)]


@pytest.mark.parametrize("name", SHAPES)
def test_warm_up_climbs_in_equal_steps_from_a_small_rate_to_the_peak(name: Any) -> None:
    schedule = Schedule(peak=0.4, total_steps=10, warmup_steps=4, name=name)
    assert rates(schedule)[:4] == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("warmup_steps", [0, 1])
def test_the_first_step_is_at_the_peak_only_without_a_warm_up(name: Any, warmup_steps: int) -> None:
    assert Schedule(peak=0.4, total_steps=10, warmup_steps=warmup_steps, name=name)(0) == 0.4
    assert Schedule(peak=0.4, total_steps=10, warmup_steps=2, name=name)(0) == 0.2


def test_polynomial_decays_by_its_power() -> None:
    schedule = Schedule(peak=8.0, total_steps=4, power=3.0)
    assert rates(schedule) == pytest.approx([8.0, 8 * 0.75**3, 1.0, 8 * 0.25**3])


def test_cosine_is_halfway_at_the_middle() -> None:
    schedule = Schedule(peak=2.0, total_steps=4, name="cosine", final_ratio=0.5)
    expected = [1 + (1 + math.cos(math.pi * t)) / 2 for t in (0, 0.25, 0.5, 0.75)]
    assert rates(schedule) == pytest.approx(expected)
    assert schedule(2) == pytest.approx(1.5)


def test_constant_stays_at_the_peak_for_ever() -> None:
    schedule = Schedule(peak=0.3, total_steps=5, warmup_steps=2, name="constant", final_ratio=0.1)
    assert [schedule(step) for step in (1, 2, 4, 5, 500)] == [0.3] * 5


@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_milestones_are_those_of_torch(warmup_steps: int) -> None:
    schedule = Schedule(
        peak=0.8, total_steps=12, warmup_steps=warmup_steps, name="step", milestones=(3, 4, 9), gamma=0.5
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.8)
    reference = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 4, 9], gamma=0.5)
    for step in range(15):
        if step >= warmup_steps:
            assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("name", ["polynomial", "cosine"])
@pytest.mark.parametrize("final_ratio", [0.0, 0.01, 1.0])
def test_steps_from_total_steps_on_hold_the_final_value(name: Any, final_ratio: float) -> None:
    schedule = Schedule(peak=0.1, total_steps=7, warmup_steps=2, name=name, final_ratio=final_ratio)
    assert {schedule(step) for step in (7, 8, 10_000_000)} == {0.1 * final_ratio}


@given(
    name=st.sampled_from(["polynomial", "cosine"]),
    peak=st.floats(1e-6, 1e3),
    total_steps=st.integers(1, 60),
    warmup=st.floats(0, 1),
    power=st.floats(0.5, 4),
    final_ratio=st.floats(0, 0.9),
)
def test_rates_climb_to_one_peak_then_fall_towards_the_final_value(
    name: Any, peak: float, total_steps: int, warmup: float, power: float, final_ratio: float
) -> None:
    warmup_steps = round(warmup * total_steps)
    schedule = Schedule(
        peak=peak,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        name=name,
        power=power,
        final_ratio=final_ratio,
    )
    values = rates(schedule)
    top = max(warmup_steps - 1, 0)
    assert values[top] == pytest.approx(peak)
    assert all(before < after for before, after in itertools.pairwise(values[: top + 1]))
    assert all(before > after for before, after in itertools.pairwise(values[top:]))
    assert values[-1] > schedule(total_steps)
    assert values[0] > 0


def test_it_drives_a_torch_scheduler() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, Schedule(peak=1, total_steps=4, warmup_steps=2))
    seen = []
    for _ in range(5):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx([0.2, 0.4, 0.4 * (2 / 3) ** 2, 0.4 * (1 / 3) ** 2, 0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "linear"}, "name is 'linear'; it must be one of polynomial, cosine, constant, step"),
        ({"total_steps": 0}, "total_steps is 0; it must be a whole number of at least 1"),
        ({"total_steps": 2.0}, "total_steps is 2.0; it must be a whole number"),
        ({"total_steps": True}, "total_steps is True; it must be a whole number"),
        ({"warmup_steps": -1}, "warmup_steps is -1; it must be a whole number of at least 0"),
        ({"warmup_steps": 11}, "warmup_steps is 11; it must be at most total_steps, 10"),
        ({"peak": 0.0}, "peak is 0.0; it must be finite and above 0"),
        ({"peak": math.nan}, "peak is nan; it must be finite"),
        ({"peak": math.inf}, "peak is inf; it must be finite"),
        ({"power": 0.0}, "power is 0.0; it must be finite and above 0"),
        ({"power": math.nan}, "power is nan; it must be finite"),
        ({"final_ratio": -0.1}, "final_ratio is -0.1; it must lie in 0..1"),
        ({"final_ratio": 1.1}, "final_ratio is 1.1; it must lie in 0..1"),
        ({"final_ratio": math.nan}, "final_ratio is nan; it must lie in 0..1"),
        ({"gamma": 1.0}, "gamma is 1.0; it must lie between 0 and 1"),
        ({"milestones": (5,)}, r"milestones are \(5,\); only name 'step' has them, not 'polynomial'"),
        ({"name": "step", "milestones": (5, 5)}, "each must be larger than the one before"),
        ({"name": "step", "milestones": (1.5,)}, "a milestone is 1.5; it must be a whole number"),
        (
            {"name": "step", "milestones": (2,), "warmup_steps": 3},
            "a milestone is 2; it must be a whole number of at least 3",
        ),
    ],
)
def test_bad_values_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(**({"peak": 0.1, "total_steps": 10} | change))


@pytest.mark.parametrize("step", [-1, 1.0, True])
def test_a_bad_step_is_named(step: Any) -> None:
    with pytest.raises(ValueError, match=f"step is {step!r}; it must be a whole number of at least 0"):
        Schedule(peak=0.1, total_steps=10)(step)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Schedule(peak=0.1, total_steps=10).peak = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("milestones", "late"),
    [
        ({"milestone_steps": [6, 9]}, None),
        ({"milestone_steps": [6, 10, 12]}, "steps [10, 12] come after the run's last step, 9"),
        ({"milestone_epochs": [1.0, 2.5]}, "steps [13] come after the run's last step, 9"),
    ],
)
def test_milestones_after_the_end_are_warned_of(
    caplog: pytest.LogCaptureFixture, milestones: dict[str, Any], late: str | None
) -> None:
    section = ScheduleConfig(name="step", **milestones)
    build_schedule(section, total_steps=10, epoch_steps=5.0)
    warned = [record.getMessage() for record in caplog.records]
    assert [late in each for each in warned] == [True] if late else not warned


@pytest.mark.parametrize(
    ("warmup", "total", "steps"),
    [
        ({"warmup_ratio": 0.1}, 30, 3),
        ({"warmup_ratio": 0.1}, 31, 4),
        ({"warmup_ratio": 0.1}, 3, 1),
        ({"warmup_ratio": 0.0}, 30, 0),
        ({"warmup_ratio": 0.999}, 10, 10),
        ({"warmup_epochs": 1.1}, 30, 6),
        ({}, 30, 0),
    ],
    ids=["whole", "broken", "short", "none", "nearly all", "epochs", "not given"],
)
def test_a_warm_up_is_a_share_of_the_run_or_a_length(warmup: dict[str, Any], total: int, steps: int) -> None:
    schedule = build_schedule(ScheduleConfig(**warmup), total_steps=total, epoch_steps=5.0)
    assert schedule.warmup_steps == steps
