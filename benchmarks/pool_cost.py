"""A step and the memory of a class pool with ten million identities, beside heads with a centre for each.

    python benchmarks/pool_cost.py --output benchmarks/pool_cost.csv

A step is all that is done but the backbone: forward, backward, and the optimizer's step of a head; for a pool
the write of a quarter of the batch and the loss of the rest. CosFace, new embeddings and classes in each
step, float32, SGD without momentum, on one thread. Each system runs in a process of its own, one after
another. Seconds are CPU seconds, so that other programs on the machine count little; the first step, which
compiles, is left out. Memory is the peak of resident memory above what was resident before the system was
built. What would not fit the machine is left out, and its row has the bytes of its centres alone.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import memory
import torch
from table import Row, rounded, surroundings, write

import partialfc

SYSTEMS = ("pool", "Partial FC", "full head")
FILLED_AT_ONCE = 2000


def main() -> None:
    options = _arguments()
    if options.system:
        print(json.dumps(measured(options)))
        return
    rows: list[Row] = []
    for system in SYSTEMS:
        for size in options.embedding:
            row = _row(system, size, options)
            centres = 0 if system == "pool" else options.classes * size * 4
            if centres > options.most_gb * 1e9:
                rows.append(row | {"left_out": f"its centres alone are {centres / 1e9:.1f} GB"})
            else:
                rows.append(row | _in_a_process(system, size, options))
            rows[-1] |= surroundings()
            print(rows[-1], flush=True)
            write(options.output, rows)
    print(f"\n| {' | '.join(('D', 'classes stand as', 'rows a step', 'CPU s a step', 'peak memory'))} |")
    print("|---|---|---|---|---|")
    for row in rows:
        told = row.get("left_out") or f"{row['cpu_s']:.3g} | {row['peak_mb']:,.0f} MB"
        print(f"| {row['embedding']} | {row['system']} | {row['rows']:,} | {told} |")


def measured(options: argparse.Namespace) -> Row:
    """The figures of one system, in this process."""
    torch.set_num_threads(1)
    before = memory.resident()
    memory.reset_peak()
    (size,), classes = options.embedding, options.classes
    step = (_pool if options.system == "pool" else _head)(options, size, classes)
    times = []
    for number in range(options.steps + 1):
        generator = torch.Generator().manual_seed(number)
        embeddings = torch.randn(options.batch, size, generator=generator)
        labels = torch.randint(classes, (options.batch,), generator=generator)
        began = time.process_time()
        step(embeddings, labels)
        times.append(time.process_time() - began)
    return {
        "cpu_s": rounded(statistics.median(times[1:])),
        "first_step_cpu_s": rounded(times[0]),
        "peak_mb": round((memory.peak() - before) / 1e6),
    }


Step = Callable[[torch.Tensor, torch.Tensor], None]


def _head(options: argparse.Namespace, size: int, classes: int) -> Step:
    rate = 1.0 if options.system == "full head" else options.part
    head = partialfc.PartialFC(size, classes, margin=partialfc.CosFace(), sample_rate=rate)
    optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.0)

    def step(embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        head(embeddings.requires_grad_(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _pool(options: argparse.Namespace, size: int, classes: int) -> Step:
    """Full, and in a step a third of what is classified has its class in it, as with pairs."""
    slots = round(options.part * classes)
    pool = partialfc.DynamicClassPool(size, slots, margin=partialfc.CosFace())
    generator = torch.Generator().manual_seed(options.steps + 1)
    for part in torch.randperm(classes, generator=generator)[:slots].split(FILLED_AT_ONCE):
        pool.write(torch.randn(len(part), size, generator=generator), part)
    quarter = options.batch // 4

    def step(embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        pool.write(embeddings[:quarter], labels[:quarter])
        rest = torch.cat([labels[:quarter], labels[2 * quarter :]])
        pool(embeddings[quarter:].requires_grad_(), rest).backward()

    return step


def _in_a_process(system: str, size: int, options: argparse.Namespace) -> Row:
    command = [sys.executable, __file__, "--system", system, "--embedding", str(size), "--output", "-"]
    for name in ("classes", "part", "batch", "steps"):
        command += [f"--{name}", str(getattr(options, name))]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def _row(system: str, size: int, options: argparse.Namespace) -> Row:
    rows = options.classes if system == "full head" else round(options.part * options.classes)
    names = ("classes", "batch", "steps")
    about = {name: getattr(options, name) for name in names}
    return {"system": system, "embedding": size, "rows": rows, **about, "threads": 1}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--classes", type=int, default=10_000_000)
    parser.add_argument("--part", type=float, default=0.01, help="of the classes, in a step or in the pool")
    parser.add_argument("--embedding", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--most-gb", type=float, default=8.0, help="of centres that are tried")
    parser.add_argument("--system", choices=SYSTEMS, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
