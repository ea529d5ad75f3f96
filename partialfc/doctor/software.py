"""Checks of what is installed: the same versions on every rank, and a compiler for the head's kernels."""

import importlib.metadata
import platform
import time
import warnings
from collections.abc import Mapping

import torch

from partialfc import __version__
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.head.kernels.compiled import trouble
from partialfc.head.kernels.elementwise import unit_centres
from partialfc.head.kernels.storage import Stored

OPTIONAL = {"dali": "nvidia-dali-cuda120"}


def versions() -> dict[str, str]:
    """By name, the versions that decide how a rank behaves; of an optional package only where installed."""
    found = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "partialfc": __version__,
    }
    for name, package in OPTIONAL.items():
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def judge_versions(by_rank: Mapping[int, Mapping[str, str]]) -> Check:
    """Ranks with other versions than rank 0 may wait for each other for ever, or compute something else.

    by_rank: the versions of each rank that answered, rank 0 included.
    """
    first = by_rank[0]
    for rank, other in by_rank.items():
        for name in sorted({*first, *other}):
            if first.get(name) != other.get(name):
                return red(
                    "versions",
                    f"{name} is {other.get(name, 'missing')} on rank {rank}, "
                    f"but {first.get(name, 'missing')} on rank 0",
                    "install the same versions on every node, or run the same image",
                )
    return green("versions", ", ".join(f"{name} {version}" for name, version in first.items()))


def check_compile(device: torch.device) -> Check:
    """Compile the head's smallest kernel. Where that fails, the head runs uncompiled."""
    began = time.perf_counter()
    rows = torch.ones(8, 16, device=device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the check itself reports it
        unit_centres(Stored(rows), None, None, None, torch.float32, torch.empty_like(rows), compiled=True)
    problem = trouble()
    if problem is None:
        return green(
            "compile", f"the head's kernels compile, the first in {time.perf_counter() - began:.1f} s"
        )
    needed = "Triton" if device.type == "cuda" else "a C++ compiler (g++, or CXX=...)"
    return yellow("compile", f"the head runs uncompiled and slower: {problem}", f"install {needed}")
