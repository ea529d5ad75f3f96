"""What a log line says of the steps since the one before."""

import math
import time
from typing import ClassVar

import torch

from partialfc.metrics.run_log import read_metrics
from partialfc.training.interval import Interval
from partialfc.training.loop import Trainer
from tests.train_cases import Normed, small_config


def test_means_are_of_the_steps_and_of_the_time_from_line_to_line():
    interval = Interval(100, 5.0)
    assert math.isnan(interval.means(100, 6.0)["loss"])
    interval.add(1.0, 4.0)
    interval.add(2.0, 8.0)
    assert interval.means(140, 7.0) == {
        "loss": 1.5,
        "gradient_norm": 6.0,
        "seconds": 2.0,
        "images_per_second": 20.0,
    }


class Timed(Normed):
    """Notes how long its forward passes take, in `took`."""

    took: ClassVar[list[float]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        began = time.perf_counter()
        embeddings = super().forward(images)
        self.took.append(time.perf_counter() - began)
        return embeddings


def seconds_of_lines(folder):
    Timed.took.clear()
    backbone = {"name": "tests.training.test_interval:Timed"}
    trainer = Trainer(small_config(folder, backbone=backbone), torch.device("pretend:0"))
    with trainer.running():
        trainer.run()
    records = read_metrics(folder / "run")
    return [each["seconds"] for each in records if each["event"] == "train"], Timed.took


def test_a_line_that_comes_later_has_the_time_of_its_own_steps(on_pretend, folder):
    """The last line of a run, and that of a checkpoint's step, come right after the one before."""
    lines, forwards = on_pretend(seconds_of_lines, folder)
    assert len(lines) == len(forwards)
    for line, forward in zip(lines, forwards, strict=True):
        assert line >= round(forward, 3)
