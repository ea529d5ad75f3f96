"""Checks of what is installed: the same versions on every rank, and a compiler for the head's kernels."""

import platform
import re
import time
import warnings
from collections.abc import Collection, Iterable, Mapping

import torch

from partialfc import __version__
from partialfc.data.loading import dali_package
from partialfc.distributed.accelerator import is_accelerator
from partialfc.doctor.check import Check, first_line, green, red, yellow
from partialfc.head.kernels.compiled import trouble
from partialfc.head.kernels.elementwise import used_centres
from partialfc.head.kernels.storage import Stored
from partialfc.metrics.trackers import TRACKERS

# The oldest and the newest that the whole suite has run on: docs/reference/versions.md.
TESTED = {"python": "3.11 to 3.13", "torch": "2.11 to 2.15"}


def versions() -> dict[str, str]:
    """By name, the versions that decide how a rank behaves; of an optional package only where installed."""
    found = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "partialfc": __version__,
    }
    if dali := dali_package.installed():
        found["dali"] = ", ".join(f"{number} ({package})" for package, number in dali.items())
    return found


def judge_dali(installed: Collection[str], cuda: str | None) -> list[Check]:
    """Yellow where DALI is installed for another CUDA than torch's, or twice; nothing without DALI.

    installed: the names of DALI's packages; cuda: what torch is built for, such as "13.0", or None.
    """
    right = dali_package.PACKAGES[dali_package.suitable_cuda(cuda)]
    wrong = [package for package in installed if package != right]
    if not installed or (cuda is None and len(installed) == 1):
        return []
    if not wrong:
        return [green("dali", f"{right}, and torch is built for CUDA {cuda}")]
    remedy = f"pip uninstall {' '.join(installed)}, then pip install 'partialfc[{dali_package.extra(cuda)}]'"
    if len(installed) > 1:
        says = f"{' and '.join(installed)} are installed, which overwrite each other's files"
        return [yellow("dali", says, remedy)]
    return [yellow("dali", f"{wrong[0]} is installed, but torch is built for CUDA {cuda}", remedy)]


def check_trackers(names: Iterable[str]) -> Check:
    """Red where some of a run's trackers are not installed, or have no key for their server: says which."""
    wrong = list[str]()
    for name in names:
        try:
            TRACKERS[name]().require()
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {first_line(error)}")
    if wrong:
        return red("trackers", "; ".join(wrong), "fix this, the run would fail likewise")
    return green("trackers", f"{', '.join(names)}: all that they need is there")


def judge_versions(by_rank: Mapping[int, Mapping[str, str]]) -> Check:
    """Ranks with other versions than rank 0 may wait for each other for ever, or compute something else.

    Yellow where all have the same, and it is one that was not tested.
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
    says = ", ".join(f"{name} {version}" for name, version in first.items())
    untested = [name for name, span in TESTED.items() if not _within(first.get(name, ""), span)]
    if untested:
        tested = " and ".join(f"{name} {TESTED[name]}" for name in untested)
        return yellow(
            "versions", f"{says}; tested on {tested}", f"install {tested}, or try a short run first"
        )
    return green("versions", says)


def _within(version: str, span: str) -> bool:
    """Whether a version such as 2.13.0+cpu is within "2.11 to 2.15"; True for what is no version."""
    release = _release(version)
    oldest, newest = map(_release, span.split(" to "))
    return not release or oldest <= release <= newest


def _release(version: str) -> tuple[int, ...]:
    """2.13.0+cpu -> (2, 13); () for what is no version."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def check_compile(device: torch.device) -> Check:
    """Compile the head's smallest kernel. Where that fails, the head runs uncompiled."""
    began = time.perf_counter()
    rows = torch.ones(8, 16, device=device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the check itself reports it
        used_centres(
            Stored(rows), None, None, None, torch.float32, True, torch.empty_like(rows), compiled=True
        )
    problem = trouble()
    if problem is None:
        return green(
            "compile", f"the head's kernels compile, the first in {time.perf_counter() - began:.1f} s"
        )
    needed = "Triton" if is_accelerator(device) else "a C++ compiler (g++, or CXX=...)"
    return yellow("compile", f"the head runs uncompiled and slower: {problem}", f"install {needed}")
