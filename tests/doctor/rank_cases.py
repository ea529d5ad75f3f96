"""Ranks of a job that the doctor examines: where they meet, how they are started, what they tell."""

import subprocess

from partialfc.config import Config
from partialfc.doctor import Report, examine
from partialfc.doctor.check import green
from partialfc.doctor.rank import Found
from tests import processes
from tests.warm import WarmProcess


def start(*arguments: object, **variables: str) -> WarmProcess:
    """The doctor where the environment has these variables too; both its streams are pipes."""
    return processes.start(
        "doctor", *arguments, stderr=subprocess.PIPE, environment=processes.ENVIRONMENT | variables
    )


def examined(config: Config | None, *, timeout: float) -> Report:
    """As rank 0 of those that the environment speaks of."""
    reports = list[Report]()
    examine(config, quick=True, timeout=timeout, show=reports.append)
    (report,) = reports
    return report


def told(*checks: str, device: str = "cpu", host: str = "a") -> Found:
    return Found(host, {}, device, tuple(green(name, "fine") for name in checks))
