"""Would sampling whole blocks of rows save time? Gather and scatter of 100k rows, single or in blocks of 16.

    python benchmarks/blocks.py --output benchmarks/blocks.csv

The rows are random and sorted, and are read and written in chunks, as in a step; bfloat16, D = 512. What
blocks save here is the most that they could save in a step: everything else in it stays the same.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from table import rounded, surroundings, write
from torch import Tensor

ROWS, SIZE, BLOCK, CHUNK = 102_400, 512, 16, 8192


def median(function: Callable[[], None], steps: int) -> float:
    function()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def traffic(stored: Tensor, index: Tensor, rows: int, steps: int) -> float:
    """Seconds to read the indexed rows of `stored` and write them back, `rows` of them at a time."""
    buffer = stored.new_empty(rows, stored.shape[1])

    def step() -> None:
        for start in range(0, len(index), rows):
            part = index[start : start + rows]
            torch.index_select(stored, 0, part, out=buffer[: len(part)])
            stored.index_copy_(0, part, buffer[: len(part)])

    return median(step, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[1_000_000, 4_000_000, 8_000_000])
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    results = []
    for classes in options.classes:
        stored = torch.ones(classes, SIZE, dtype=torch.bfloat16)
        generator = np.random.default_rng(0)
        seconds = {}
        for name, unit in (("rows", 1), ("blocks", BLOCK)):
            drawn = np.sort(generator.choice(classes // unit, ROWS // unit, replace=False))
            view = stored.view(classes // unit, unit * SIZE)
            seconds[name] = traffic(view, torch.from_numpy(drawn), CHUNK // unit, options.steps)
        row = {"classes": classes, "rows_s": rounded(seconds["rows"]), "blocks_s": rounded(seconds["blocks"])}
        print(row, flush=True)
        results.append(row | surroundings())
    if options.output:
        write(options.output, results)


if __name__ == "__main__":
    main()
