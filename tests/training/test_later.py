"""When the host does what follows from a step."""

from functools import partial

import pytest
import torch

import partialfc
from partialfc.training.later import Later


def calls_by_step(device: str) -> list[list[str]]:
    """After each of three steps, each with a call and some with another: the calls that were made."""
    later, made = Later(torch.device(device)), []
    found = []
    for step in (1, 2, 3):
        later.add(step, partial(made.append, f"end of {step}"))
        later.catch_up(step)
        if step != 2:
            later.add(step, partial(made.append, f"line of {step}"))
            later.catch_up(step)
        found.append([*made])
        made.clear()
    later.finish()
    return [*found, made]


def test_on_a_cpu_each_step_is_finished_at_once():
    assert calls_by_step("cpu") == [["end of 1", "line of 1"], ["end of 2"], ["end of 3", "line of 3"], []]


def test_on_an_accelerator_a_step_is_finished_after_the_next_one():
    expected = [[], ["end of 1", "line of 1"], ["end of 2"], ["end of 3", "line of 3"]]
    assert calls_by_step("cuda") == expected


def steps(later: Later, made: list[int], last: int, error: Exception) -> None:
    """Steps up to the last, which raises the error."""
    with later.finished_after_errors():
        for step in range(1, last):
            later.add(step, partial(made.append, step))
            later.catch_up(step)
        raise error


@pytest.mark.parametrize(
    ("error", "expected"), [(partialfc.LabelError, [1, 2]), (partialfc.DistributedError, [1])]
)
def test_an_error_of_all_ranks_comes_after_the_step_before(error, expected):
    made: list[int] = []
    with pytest.raises(error):
        steps(Later(torch.device("cuda")), made, 3, error("in step 3"))
    assert made == expected


def fail() -> None:
    raise partialfc.NonFiniteError("three in a row")


def test_after_a_call_that_fails_no_other_is_made():
    later, made = Later(torch.device("cuda")), []
    later.add(1, fail)
    later.add(2, partial(made.append, 2))
    with pytest.raises(partialfc.NonFiniteError):
        later.catch_up(2)
    later.finish()
    assert made == []
