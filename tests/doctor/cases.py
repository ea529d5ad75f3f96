"""Examinations on one rank, and what they found."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from partialfc.config import Config
from partialfc.doctor import Check, Report, examine
from tests import train_cases


def examined(config: Config | None, *, quick: bool = False) -> Report:
    reports = list[Report]()
    level = examine(config, quick=quick, timeout=5, show=reports.append)
    (report,) = reports
    assert report.level == level
    return report


def quick(folder: Path, *overrides: str, **sections: dict[str, Any]) -> Report:
    return examined(train_cases.small_config(folder, *overrides, **sections), quick=True)


def found(report: Report, name: str) -> Check:
    (check,) = [each.check for each in report.findings if each.check.name == name]
    return check


@contextlib.contextmanager
def soft_limit(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)
