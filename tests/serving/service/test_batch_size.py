"""How many images a call takes, by what an image takes in calls of several sizes."""

import time

import pytest

from partialfc.serving.model import open_model
from partialfc.serving.service.batch_size import largest_good, measured_batch
from tests.serving.service.cases import write_model

OF_MOBILEFACENET = {1: 6.86, 2: 6.37, 4: 6.85, 8: 7.30, 16: 8.05, 32: 8.71}  # ms, as an EPYC took
OF_A_SMALL_ONE = {1: 0.46, 2: 0.29, 4: 0.24, 8: 0.24, 16: 0.23, 32: 0.24}


@pytest.mark.parametrize(
    ("seconds", "most", "expected"),
    [
        (OF_MOBILEFACENET, 32, 4),
        (OF_A_SMALL_ONE, 32, 32),
        (OF_A_SMALL_ONE, 24, 16),
        ({1: 1.0, 2: 1.09, 4: 1.05, 8: 1.2, 16: 0.5}, 16, 4),
        ({1: 9.0}, 32, 1),
    ],
    ids=["large", "small", "most", "up-and-down", "slow"],
)
def test_the_size_is_the_last_before_an_image_takes_much_longer(
    seconds: dict[int, float], most: int, expected: int
) -> None:
    """A size that is missing was not measured, as the time was over."""
    assert largest_good(seconds.get, most=most) == expected


def test_a_model_is_measured_by_any_clock(tmp_path) -> None:
    model = open_model(write_model(tmp_path / "tiny.onnx"), threads=1)
    for clock in (time.process_time, time.perf_counter):
        assert measured_batch(model, most=8, clock=clock) in (1, 2, 4, 8)
    still = iter(range(100_000))  # each call takes as long, whatever is in it
    assert measured_batch(model, most=8, clock=lambda: float(next(still))) == 8
