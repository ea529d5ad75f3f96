"""What Inductor and Triton make of the head's compiled kernels, for a GPU that is not there.

    python benchmarks/triton_code.py --capability 80 90 --output benchmarks/triton_code.csv

Records the calls that steps of the head make of its kernels, in every dtype that rows are stored in
(tests/absent_gpu/calls.py), generates the code of each for CUDA, and compiles it for the named architectures:
how many launches a call is, registers of a thread, bytes that it spills. Needs Triton, and no GPU.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.absent_gpu.calls import CASES, Call, Problem, record, variant  # noqa: E402  no installed package
from tests.absent_gpu.device import ARCHITECTURES  # noqa: E402
from tests.absent_gpu.worker import run  # noqa: E402
from tests.pretend.worker import Worker  # noqa: E402

RATES = (0.3, 1.0)


def recorded() -> list[tuple[str, float, Call]]:
    """Each variant once, with the first case and sample rate that calls it."""
    worker, found = Worker(), {}
    try:
        for rate in RATES:
            for case in CASES:
                for call in worker.run(record, case, Problem(300, 40, 512, rate, False)):
                    found.setdefault(variant(call), (case, rate, call))
    finally:
        worker.close()
    return list(found.values())


def measure(capability: int, calls: list[tuple[str, float, Call]]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        built = run("build", capability, [call for *_, call in calls], Path(folder))
    return [
        {
            "capability": capability,
            "kernel": call.name.lstrip("_"),
            "case": case,
            "sample_rate": rate,
            "launches": launches,
            "registers": max(kernel.registers for kernel in kernels),
            "spilled_bytes": max(kernel.spilled for kernel in kernels),
        }
        for (case, rate, call), (_, launches, kernels) in zip(calls, built, strict=True)
    ]


def main() -> None:
    import table  # it imports the package

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--capability", type=int, nargs="+", choices=sorted(ARCHITECTURES), default=[90])
    parser.add_argument("--output", type=Path, help="CSV file; without it the rows go to the screen only")
    options = parser.parse_args()
    calls, rows = recorded(), []
    for capability in options.capability:
        made = measure(capability, calls)
        rows += made
        for row in made:
            print(*row.values(), sep="  ", flush=True)
    if options.output:
        import triton

        table.write(
            options.output, [row | {"triton": triton.__version__} | table.surroundings() for row in rows]
        )


if __name__ == "__main__":
    main()
