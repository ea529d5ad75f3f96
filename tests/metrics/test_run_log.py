"""metrics.jsonl and TensorBoard."""

import pytest

from tests.train_cases import small_config
from tests.training.cases import losses, run


def test_bad_bytes_in_the_metrics_do_not_stop_a_run(folder):
    run(small_config(folder))
    with (folder / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\xfe{}\n[1]\n")
    assert run(small_config(folder, train={"steps": 14}))["finished"]


def test_tensorboard_gets_the_same_numbers(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(small_config(folder, train={"tensorboard": True}))
    events = EventAccumulator(str(folder / "run" / "tensorboard")).Reload()
    logged = [event.value for event in events.Scalars("train/loss")]
    assert logged == pytest.approx(losses(folder), rel=1e-6)
