"""Whole runs and their metrics: what Prometheus says of them is what their own log says."""

import json
import logging
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from partialfc.metrics.families import PHASES, STEP_PHASES
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from partialfc.training.run_state import RunState
from tests import train_cases
from tests.metrics.cases import (
    fetch,
    free_port,
    prometheus,
    query,
    samples,
    server,
    sum_of,
    text_of,
    wait_for,
)
from tests.train_cases import Normed, rank_here, small_config

BOTH = ("rank=0", "rank=1")


def train(config: Any) -> tuple[dict[tuple[str, ...], float], bool]:
    """A whole run on this rank: its metrics at the end, and whether it finished."""
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        finished = trainer.run()
    return samples(text_of(trainer.metrics.registry)), finished


def records(folder: Path, event: str) -> list[dict[str, Any]]:
    return [record for record in read_metrics(folder / "run") if record["event"] == event]


class Watched(Normed):
    """Goes on after its sixth step only when Prometheus has seen some of those before."""

    def __init__(self, *, prometheus: str, **size: Any) -> None:
        super().__init__(**size)
        self.prometheus, self.count = prometheus, 0

    def forward(self, images: Tensor) -> Tensor:
        self.count += self.training
        if self.count == 6 and self.training:
            wait_for(lambda: query(self.prometheus, f'partialfc_step{{rank="{rank_here()}"}} > 0') or None)
        return super().forward(images)


def train_watched(config: Any, url: str) -> dict[str, Any]:
    """A run that goes on serving until Prometheus has seen it finished: when that was, and more."""
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        finished = trainer.run()
        ended = time.time()

        def seen() -> dict[tuple[str, ...], float] | None:
            found = query(url, f"timestamp(partialfc_step) > {ended}")
            return found if len(found) == 2 else None

        seen_at = max(wait_for(seen).values())  # of the scrapes themselves: a later one may fail
        port = json.loads(config.metrics.targets.read_text())[0]["targets"][trainer.world.rank]
        text = fetch(f"http://{port}/metrics")
        trainer.world.barrier()
    return {"finished": finished, "at": seen_at, "text": text}


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus: apt-get install prometheus")
def test_what_prometheus_says_of_a_run_is_what_its_log_says(run_ranks, folder):
    """Two processes, scraped while they train."""
    targets = folder / "targets.json"
    with prometheus(folder, targets) as url:
        config = small_config(
            folder,
            backbone={"name": "tests.metrics.test_whole_runs:Watched", "options": {"prometheus": url}},
            train={"log_every": 4},
            checkpoint={"every_steps": 5},
            verification={"sets": {"seen": str(folder / "pairs.bin")}, "every_steps": 6, "at_start": True},
            metrics={"port": 0, "targets": str(targets), "run": "watched"},
        )
        results = run_ranks(train_watched, 2, config, url)
        at = max(result["at"] for result in results)

        def ask(expression: str) -> dict[tuple[str, ...], float]:
            return query(url, expression, at=at)

        def everywhere(expression: str) -> float:
            """What both ranks say, which must be the same."""
            first, second = (ask(f'{expression[:-1]}, {part[:5]}"{part[5:]}"}}') for part in BOTH)
            (value,) = first.values()
            assert list(second.values()) == [value]
            return value

        assert all(result["finished"] for result in results)
        last = records(folder, "train")[-1]
        verified = records(folder, "verification")[-1]
        saved = records(folder, "checkpoint")
        assert ask("sum(partialfc_images_total)") == {(): last["samples"]}
        assert everywhere('partialfc_steps_total{run="watched"}') == last["step"]
        assert everywhere('partialfc_planned_steps{run="watched"}') == 12
        assert everywhere('partialfc_epoch{run="watched"}') == pytest.approx(last["epoch"], abs=1e-4)
        for name in ("loss", "gradient_norm"):
            assert everywhere(f'partialfc_{name}{{run="watched"}}') == pytest.approx(last[name], rel=1e-6)
        assert everywhere('partialfc_embedding_norm{run="watched"}') == last["embedding_norm"]
        assert everywhere('partialfc_learning_rate{run="watched", group="head"}') == last["lr"]
        assert everywhere('partialfc_nonfinite_steps_total{run="watched"}') == 0
        assert (
            everywhere('partialfc_verification_accuracy{run="watched", set="seen"}') == verified["accuracy"]
        )
        assert everywhere('partialfc_checkpoints_total{run="watched"}') == len(saved)
        assert everywhere('partialfc_world_size{run="watched"}') == 2
        assert everywhere('partialfc_running{run="watched"}') == 1
        size = sum(file.stat().st_size for file in Path(saved[-1]["path"]).iterdir())
        assert ask("partialfc_checkpoint_bytes") == {("rank=0", "run=watched"): size}
        for part in BOTH:
            (saved_at,) = ask(f'partialfc_checkpoint_timestamp_seconds{{rank="{part[5:]}"}}').values()
            assert saved_at == pytest.approx(saved[-1]["time"], abs=1)

        logged = len(records(folder, "train"))
        assert ask("sum(partialfc_target_angle_degrees_count)") == {(): 24 * logged}
        degrees = "partialfc_target_angle_degrees_sum / partialfc_target_angle_degrees_count"
        angles = [record["target_angle_degrees"] for record in records(folder, "train")]
        assert list(ask(degrees).values()) == [pytest.approx(sum(angles) / logged, rel=1e-4)]

        counts = ask("sum by (phase) (partialfc_phase_seconds_count)")
        of_a_step = {(f"phase={phase}",): 2 * 12 for phase in STEP_PHASES}
        assert counts == of_a_step | {("phase=checkpoint",): 2 * len(saved), ("phase=verification",): 2 * 3}
        assert len(PHASES) == len(counts)
        in_step = f'partialfc_phase_seconds_sum{{phase=~"{"|".join(STEP_PHASES)}"}}'
        for share in ask(f"sum by (rank) ({in_step}) / sum by (rank) (partialfc_step_seconds_sum)").values():
            assert 0.5 < share <= 1

        # Growth over the run as it was scraped; both are extrapolated alike.
        rates = ask("rate(partialfc_images_total[10m]) / rate(partialfc_steps_total[10m])")
        assert list(rates.values()) == [pytest.approx(12), pytest.approx(12)]
    assert json.loads(targets.read_text()) == []
    if shutil.which("promtool") is not None:
        command = ["promtool", "check", "metrics"]
        checked = subprocess.run(command, input=results[1]["text"], capture_output=True, text=True)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.skipif(
    shutil.which("prometheus-pushgateway") is None,
    reason="no prometheus-pushgateway: apt-get install prometheus-pushgateway",
)
def test_a_run_pushes_its_last_values_when_it_ends(run_ranks, folder):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with server("prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}"):
        wait_for(lambda: fetch(f"{url}/-/ready"))
        run_ranks(train, 2, small_config(folder, metrics={"pushgateway": url, "run": "batch"}))
        found = samples(fetch(f"{url}/metrics"))
    last = records(folder, "train")[-1]
    for rank in (0, 1):
        labels = ("instance=", "job=partialfc", f"rank={rank}", "run=batch")
        assert found["partialfc_step", *labels] == last["step"]
        assert found["partialfc_loss", *labels] == pytest.approx(last["loss"])
        assert found["partialfc_running", *labels] == 0


def test_a_taken_port_and_a_missing_pushgateway_do_not_end_a_run(folder, caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway = f"http://127.0.0.1:{free_port()}"
        found, finished = train(small_config(folder, metrics={"port": port, "pushgateway": gateway}))
    assert finished
    assert found["partialfc_steps_total", "rank=0", "run=run"] == 12
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [message.split()[0] for message in warnings] == ["metrics.port", "metrics.pushgateway"]


INTERRUPTED = "tests.train_cases:Interrupted"


@pytest.mark.parametrize("resumed_by", [1, 2, 3])
def test_counters_go_on_where_the_checkpoint_was(run_ranks, folder, resumed_by):
    """Two ranks stop in step 7 of 12; however many go on, the sums are those of one run."""
    stopping = {"name": INTERRUPTED, "options": {"at": 7}}
    stopped = run_ranks(train, 2, small_config(folder, backbone=stopping))
    assert not any(finished for _, finished in stopped)
    going_on = {"name": INTERRUPTED, "options": {"at": 10**9}}
    found: dict[tuple[str, ...], float] = {}
    for values, finished in run_ranks(train, resumed_by, small_config(folder, backbone=going_on)):
        assert finished
        found |= values
    assert sum_of(found, "partialfc_images_total") == 12 * 24
    for rank in range(resumed_by):
        assert found["partialfc_steps_total", f"rank={rank}", "run=run"] == 12
        assert found["partialfc_checkpoints_total", f"rank={rank}", "run=run"] == 2
        labels = (f"rank={rank}", "run=run")
        seconds = found["partialfc_checkpoint_seconds_sum", *labels]
        assert seconds == found["partialfc_phase_seconds_sum", "phase=checkpoint", *labels] > 0


def test_a_checkpoint_without_totals_still_resumes(folder, monkeypatch):
    def values_of_old(state: RunState) -> dict[str, Any]:
        return {key: value for key, value in values(state).items() if key != "metrics"}

    values = RunState.values
    monkeypatch.setattr(RunState, "values", values_of_old)
    train(small_config(folder, train={"steps": 5}))
    monkeypatch.undo()
    found, finished = train(small_config(folder))
    assert finished
    assert found["partialfc_steps_total", "rank=0", "run=run"] == 7
    assert found["partialfc_step", "rank=0", "run=run"] == 12


def test_skipped_steps_are_counted(run_ranks, folder):
    poison = {"name": "tests.train_cases:Poisoned", "options": {"steps": [3, 4], "rank": 1}}
    for rank, (found, _) in enumerate(run_ranks(train, 2, small_config(folder, backbone=poison))):
        assert found["partialfc_nonfinite_steps_total", f"rank={rank}", "run=run"] == 2
        assert found["partialfc_steps_total", f"rank={rank}", "run=run"] == 12


def test_micro_batches_count_as_one_step(folder):
    found, _ = train(small_config(folder, train={"batch_size": 6, "accumulation": 4}))
    labels = ("rank=0", "run=run")
    assert found["partialfc_steps_total", *labels] == 12
    assert found["partialfc_images_total", *labels] == 12 * 24
    assert found["partialfc_phase_seconds_count", "phase=backbone", *labels] == 12
    taking_part = [found[f"partialfc_sampled_{kind}_total", *labels] for kind in ("positives", "negatives")]
    assert sum(taking_part) == 12 * 4 * (train_cases.CLASSES // 2)  # at a rate of 0.5
