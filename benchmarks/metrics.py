"""What the metrics cost a training step: without them, with them, and scraped in every step, in turns.

    OMP_NUM_THREADS=1 torchrun --standalone --nproc-per-node 2 benchmarks/metrics.py \\
        --data data/glyphs --output benchmarks/metrics.csv

Steps of the quickstart, one of each kind in turn. Times are the process's CPU time, which other work on the
machine changes least, and wall time. The metrics' calls of a step, and a scrape, are also timed alone, many
in a row, in CPU time: they are too short to be seen in the difference between steps.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from prometheus_client import CollectorRegistry, generate_latest
from table import surroundings, write

from partialfc.config import load_config
from partialfc.distributed import World, process_group
from partialfc.distributed.traffic import Traffic
from partialfc.metrics import Server
from partialfc.metrics.families import STEP_PHASES
from partialfc.training.loop import Trainer

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SUBJECTS = ("without", "with", "scraped")
SCRAPER = "import sys, urllib.request as r\nfor url in sys.stdin: r.urlopen(url.strip()).read()"
REPEATS = 200


class Silent:
    """In place of RunMetrics and its clock: nothing is timed or counted."""

    own_microseconds = 0

    def step(self) -> Any:
        return nullcontext()

    def phase(self, _: str) -> Any:
        return nullcontext()

    def stepped(self, *_: Any, **__: Any) -> None:
        pass


@contextmanager
def only_counted(traffic: Traffic, collective: str, tensor: torch.Tensor) -> Iterator[None]:
    """Traffic.measured without the time."""
    yield
    traffic.add(collective, tensor)


@contextmanager
def without_metrics(trainer: Trainer) -> Iterator[None]:
    kept = trainer.metrics, trainer.clock, Traffic.measured, dict(trainer.objective.head._forward_hooks)
    trainer.metrics = trainer.clock = trainer.reports._metrics = Silent()
    Traffic.measured = only_counted
    trainer.objective.head._forward_hooks.clear()
    try:
        yield
    finally:
        trainer.metrics, trainer.clock, Traffic.measured = kept[:3]
        trainer.reports._metrics = trainer.metrics
        trainer.objective.head._forward_hooks.update(kept[3])


def seconds_of(step: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.process_time() - cpu, time.perf_counter() - wall


def take_turns(trainer: Trainer, url: str, rounds: int) -> np.ndarray:
    """[rounds, subjects, 2] seconds of CPU and wall."""

    def step() -> None:
        with trainer.clock.step():
            trainer._train_step()

    scraper = subprocess.Popen([sys.executable, "-c", SCRAPER], stdin=subprocess.PIPE, text=True, bufsize=1)
    found = np.zeros((rounds, len(SUBJECTS), 2))
    with scraper, scraper.stdin as ask:
        for turn in range(rounds):
            for place in np.roll(np.arange(len(SUBJECTS)), turn):
                if SUBJECTS[place] == "scraped":
                    ask.write(f"{url}\n")
                with without_metrics(trainer) if SUBJECTS[place] == "without" else nullcontext():
                    found[turn, place] = seconds_of(step)
    return found


def calls_of_a_step(trainer: Trainer, rows: torch.Tensor) -> None:
    """What the trainer, the collectives and the head call for the metrics in one step, and nothing else."""
    metrics, clock = trainer.metrics, trainer.clock
    with clock.step():
        for phase in STEP_PHASES:
            with clock.phase(phase):
                pass
        for _ in range(8):
            with trainer.world.traffic.measured("all_gather", rows):
                pass
        metrics._watch._forward_done(trainer.objective.head, (rows, rows), {}, rows)
        own = np.array([metrics.own_microseconds] * trainer.world.size)
        metrics.stepped(
            trainer.state.step, finite=True, overflowed=False, own_microseconds=own, queued=0, bad_records=0
        )


def median_of(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    times = []
    for _ in range(REPEATS):
        before = time.thread_time()
        call()
        times.append(time.thread_time() - before)
    return statistics.median(times)


def measure(options: argparse.Namespace, folder: str) -> None:
    overrides = [
        f"run.dir={folder}/run",
        f"data.train={options.data / 'train.rec'}",
        "verification.sets={}",
        "metrics.port=null",
    ]
    trainer = Trainer(load_config(CONFIG, overrides), torch.device("cpu"))
    registry = trainer.metrics.registry
    collectors = CollectorRegistry()
    collectors.register(registry)
    with trainer.running(), Server(registry, port=0) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        take_turns(trainer, url, rounds=3)  # to warm up
        found = take_turns(trainer, url, options.rounds)
        calls = median_of(lambda: calls_of_a_step(trainer, torch.zeros(256, 128)))
        scrape = median_of(lambda: generate_latest(collectors))
        logged = median_of(trainer.metrics._head.log)
    if trainer.world.rank == 0:
        report(found, calls, scrape, logged, trainer, options.output)


def report(
    found: np.ndarray, calls: float, scrape: float, logged: float, trainer: Trainer, output: Path | None
) -> None:
    cpu, wall = np.moveaxis(found, 2, 0)
    step = float(np.median(cpu[:, 0]))
    per_step = calls + logged / trainer.config.train.log_every
    row: dict[str, Any] = {"ranks": trainer.world.size, "rounds": len(found)}
    for place, name in enumerate(SUBJECTS):
        low, middle, high = np.percentile(cpu[:, place], (20, 50, 80))
        row |= {f"{name}_cpu_{p}_s": round(v, 4) for p, v in (("p20", low), ("p50", middle), ("p80", high))}
        row |= {f"{name}_wall_p50_s": round(float(np.median(wall[:, place])), 4)}
    difference = np.median(cpu[:, 1] - cpu[:, 0])
    one_scrape = float(np.median(cpu[:, 2] - cpu[:, 1]))  # the server's and the interpreter's part included
    row |= {
        "with_minus_without_cpu_ms": round(1e3 * float(difference), 2),
        "scraped_minus_with_cpu_ms": round(1e3 * one_scrape, 2),
        "calls_of_a_step_cpu_ms": round(1e3 * calls, 3),
        "log_cpu_ms": round(1e3 * logged, 3),
        "text_of_a_scrape_cpu_ms": round(1e3 * scrape, 3),
        "share_of_a_step_percent": round(100 * per_step / step, 3),
        "share_of_a_core_scraped_every_second_percent": round(100 * one_scrape, 2),
        "load": round(os.getloadavg()[0], 1),
    }
    for name, value in row.items():
        print(f"{name:<46}{value}")
    if output is not None:
        write(output, [row | surroundings()])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with (
        process_group(torch.device("cpu"), timeout=timedelta(minutes=5)),
        tempfile.TemporaryDirectory() as folder,
    ):
        measure(options, World.of().gather_texts(folder)[0])  # rank 0's is the run's
        World.of().barrier()


if __name__ == "__main__":
    main()
