"""How long compiling a head's kernels takes: a first run, and the next one, which finds them on disk.

    python benchmarks/compile_time.py --output benchmarks/compile_time.csv

Each runs in its own process: it builds a head and its RowSGD and makes three steps, uncompiled and then
compiled; the difference is the time of compiling. The first finds an empty cache (TORCHINDUCTOR_CACHE_DIR),
the second what the first left there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from table import rounded, surroundings, write
from work import DTYPES, dtype_of, name_of

import partialfc

CLASSES, SIZE, SAMPLES, STEPS = 10_000, 512, 64, 3


def seconds(compute: torch.dtype, *, compiled: bool) -> float:
    """A head and its optimizer built, and STEPS steps."""
    started = time.perf_counter()
    head = partialfc.PartialFC(
        SIZE,
        CLASSES,
        margin=partialfc.ArcFace(),
        sample_rate=0.1,
        compute_dtype=compute,
        compile=compiled,
    )
    optimizer = partialfc.RowSGD(head, lr=0.01, momentum=0.9, weight_decay=5e-4)
    for _ in range(STEPS):
        loss = head(torch.randn(SAMPLES, SIZE, requires_grad=True), torch.arange(SAMPLES))
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - started


def compiling(compute: torch.dtype) -> float:
    plain = seconds(compute, compiled=False)
    return seconds(compute, compiled=True) - plain


def in_a_process(compute: torch.dtype, cache: str) -> float:
    command = [sys.executable, __file__, "--one", name_of(compute)]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(result.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", choices=[name_of(dtype) for dtype in DTYPES], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(compiling(dtype_of(options.one))))
        return
    rows = []
    for compute in DTYPES:
        with tempfile.TemporaryDirectory() as cache:
            first, next_one = (in_a_process(compute, cache) for _ in range(2))
        row = {"compute": name_of(compute), "first_s": rounded(first), "next_s": rounded(next_one)}
        print(row, flush=True)
        rows.append(row | surroundings())
    if options.output:
        write(options.output, rows)


if __name__ == "__main__":
    main()
