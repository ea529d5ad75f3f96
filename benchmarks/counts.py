"""What a step of the head asks of a GPU, counted on the pretend accelerator of the tests, beside the floor.

    python benchmarks/counts.py --output benchmarks/counts.csv

One rank's shard of 1.25M classes, a tenth of them sampled, a global batch of 1,024. By phase: launches,
floating-point operations of the matrix products, the bytes that the launches read and write, and how many of
them pass a second-level cache of 50 MB, an H100's. The floor is that of `partialfc plan`. Nothing is
computed: tensors have sizes alone, so this takes seconds on any machine. A compiled kernel counts as one
launch, which reads and writes each byte once (tests/pretend/fused.py).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.pretend.worker import Worker  # noqa: E402  tests/ is no package that is installed

PHASES = ("forward", "backward", "update")
COUNTS = ("launches", "flops", "touched", "moved")
WARM_UP = 2  # steps


def count(sizes: dict[str, Any]) -> list[dict[str, Any]]:
    """In a process that has the pretend accelerator: the counts of one step, a row for each phase."""
    import torch  # after the worker has installed the accelerator, as the package must be

    import partialfc
    from tests.pretend.machine import machine

    machine.hollow = True
    head = partialfc.PartialFC(
        sizes["embedding"],
        sizes["classes"],
        margin=partialfc.ArcFace(),
        sample_rate=sizes["sample_rate"],
        compute_dtype=getattr(torch, sizes["compute"]),
        compile=sizes["compiled"],
    ).to(machine.device)
    optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.9, weight_decay=5e-4)
    found_inf = torch.zeros((), device=machine.device)  # as the trainer gives it, so that the device decides
    for step in range(WARM_UP + 1):
        generator = torch.Generator().manual_seed(step)
        embeddings = torch.empty(sizes["samples"], sizes["embedding"], device=machine.device).requires_grad_()
        labels = torch.randint(sizes["classes"], (sizes["samples"],), generator=generator)
        machine.log.clear()
        with machine.log.phase("forward"):
            loss = head(embeddings, labels)
        with machine.log.phase("backward"):
            loss.backward()
        with machine.log.phase("update"):
            optimizer.found_inf = found_inf
            optimizer.step()
            del optimizer.found_inf
            optimizer.zero_grad()
    faults = [str(fault) for fault in machine.log.faults]
    assert not faults, faults
    return [
        {"phase": phase} | {name: machine.log.total(name, phase) for name in COUNTS}
        for phase in (*PHASES, None)
    ]


def floor(sizes: dict[str, Any]) -> dict[str, Any]:
    """The planner's floor of the same step."""
    from partialfc.plan import Setting, floor_of

    setting = Setting(
        classes=sizes["classes"],
        embedding=sizes["embedding"],
        gpus=1,
        batch=sizes["samples"],
        sample_rate=sizes["sample_rate"],
        compute_dtype=sizes["compute"],
        compile=sizes["compiled"],
    )
    least = floor_of(setting, gemm_rate=1.0, memory_bandwidth=1.0)
    return {"phase": "floor", "flops": least.flops, "moved": least.bytes}


def measure(sizes: dict[str, Any]) -> list[dict[str, Any]]:
    worker = Worker()
    try:
        *phases, step = worker.run(count, sizes)
    finally:
        worker.close()
    return [*phases, step | {"phase": "step"}, floor(sizes)]


def show(rows: list[dict[str, Any]]) -> None:
    print(f"{'':10}{'launches':>10}{'GFLOP':>10}{'MB touched':>12}{'MB moved':>10}")
    for row in rows:
        launches, flops = row.get("launches", ""), row["flops"] / 1e9
        touched = f"{row['touched'] / 1e6:.0f}" if "touched" in row else ""
        print(f"{row['phase']:10}{launches:>10}{flops:>10.0f}{touched:>12}{row['moved'] / 1e6:>10.0f}")
    step, least = rows[-2:]
    print(f"{step['moved'] / least['moved']:.2f} times the floor's bytes")


def main() -> None:
    import table  # it imports the package

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=1_250_000, help="of this rank's shard")
    parser.add_argument("--sample-rate", type=float, default=0.1)
    parser.add_argument("--samples", type=int, default=1024, help="of the global batch")
    parser.add_argument("--embedding", type=int, default=512)
    parser.add_argument("--compute", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--uncompiled", dest="compiled", action="store_false")
    parser.add_argument("--output", type=Path, help="CSV file; without it the rows go to the screen only")
    sizes = vars(parser.parse_args())
    output = sizes.pop("output")
    rows = measure(sizes)
    show(rows)
    if output:
        table.write(output, [sizes | row | table.surroundings() for row in rows])


if __name__ == "__main__":
    main()
