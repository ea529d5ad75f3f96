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


def fail() -> None:
    raise partialfc.NonFiniteError("three in a row")


def test_after_a_call_that_fails_no_other_is_made():
    later, made = Later(torch.device("cuda")), []
    with pytest.raises(partialfc.NonFiniteError), later.finished_after_errors():
        later.add(1, fail)
        later.add(2, partial(made.append, 2))
        later.catch_up(2)
    later.finish()
    assert made == []


@pytest.mark.parametrize(
    ("error", "expected"), [(partialfc.LabelError, [1]), (partialfc.DistributedError, [])]
)
def test_an_error_of_all_ranks_comes_after_the_step_before(error, expected):
    later, made = Later(torch.device("cuda")), []
    with pytest.raises(error), later.finished_after_errors():
        later.add(1, partial(made.append, 1))
        raise error("in step 2")
    assert made == expected
