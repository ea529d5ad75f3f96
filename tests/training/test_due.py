"""When verifications and checkpoints are due."""

from typing import Any

from partialfc.training.due import is_due


def due_steps(**period: Any) -> list[int]:
    """Of 12 steps of 24 samples, over data of 120."""
    options = {"every_steps": None, "every_epochs": None} | period
    sizes = {"samples_per_step": 24, "samples_per_epoch": 120}
    return [step for step in range(1, 13) if is_due(**options, step=step, samples=24 * step, **sizes)]


def test_every_so_many_steps():
    assert due_steps(every_steps=5) == [5, 10]


def test_every_so_many_epochs_in_the_first_step_that_passes_them():
    assert due_steps(every_epochs=1.0) == [5, 10]
    assert due_steps(every_epochs=0.5) == [3, 5, 8, 10]
    assert due_steps(every_epochs=2.0) == [10]


def test_without_a_period_at_the_end_of_each_epoch():
    assert due_steps() == [5, 10]
