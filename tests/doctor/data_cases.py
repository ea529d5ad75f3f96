"""Training data that the doctor examined: does it say that all is well, and does training read it?"""

from pathlib import Path

import torch

from partialfc.doctor import Level, Report
from partialfc.training.builders.data import build_loader_from, read_training_source
from tests import train_cases
from tests.doctor.cases import found


def assert_green(report: Report) -> None:
    for name in ("data", "num_classes", "labels", "class sizes", "records"):
        assert found(report, name).level == Level.GREEN, name


def trains(folder: Path, *overrides: str) -> None:
    """Read all batches of the training that the doctor examined."""
    config = train_cases.small_config(folder, "train.steps=6", *overrides)
    source = read_training_source(config.data, config.run.dir)
    loader = build_loader_from(
        config.data,
        source,
        torch.device("cpu"),
        num_classes=config.data.num_classes or source.num_classes,
        batch_size=6,
        seed=0,
        rank=0,
        world_size=1,
        position=0,
    )
    with loader:
        for _ in range(6):
            next(loader)
