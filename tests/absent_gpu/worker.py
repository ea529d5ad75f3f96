"""Code of recorded calls in a process of its own: generated and built, or interpreted.

python -m tests.absent_gpu.worker build 90 calls.pt codes.pt
TRITON_INTERPRET=1 python -m tests.absent_gpu.worker interpret 90 codes.pt results.pt
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from tests.absent_gpu.build import Built, build, launches
from tests.absent_gpu.calls import Call
from tests.absent_gpu.device import pretend_capability
from tests.absent_gpu.generate import Code, generate
from tests.absent_gpu.interpret import interpret

HAS_TRITON = find_spec("triton") is not None
ROOT = Path(__file__).parents[2]


def code_and_figures(call: Call) -> tuple[Code, int, list[Built]]:
    """The call's code, how many launches it makes, and its kernels."""
    code = generate(call)
    return code, launches(code), build(code)


def run(task: str, capability: int, given: list[Any], folder: Path) -> list[Any]:
    """What the task makes of each of them; RuntimeError with what a process said that failed."""
    source, target = folder / f"{task}-given.pt", folder / f"{task}-made.pt"
    torch.save(given, source)
    done = subprocess.run(
        [sys.executable, "-m", "tests.absent_gpu.worker", task, str(capability), str(source), str(target)],
        cwd=ROOT,
        env=os.environ | ({"TRITON_INTERPRET": "1"} if task == "interpret" else {}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    return torch.load(target, weights_only=False)  # type: ignore[no-any-return]


def main() -> None:
    task, capability, source, target = sys.argv[1:]
    pretend_capability(int(capability))
    given = torch.load(source, weights_only=False)
    if task == "build":
        torch.save([code_and_figures(call) for call in given], target)
    else:
        torch.save([interpret(call, code) for call, code in given], target)


if __name__ == "__main__":
    main()
