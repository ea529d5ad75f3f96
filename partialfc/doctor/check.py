"""What one check found, and one report of what all ranks found."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """green: all is well; yellow: the job runs, but worse than it could; red: it fails or wastes time."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"

    @property
    def severity(self) -> int:
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. says: what was found; remedy: what to do, empty only where it is green."""

    name: str
    level: Level
    says: str
    remedy: str = ""

    def __post_init__(self) -> None:
        assert bool(self.remedy) == (self.level != Level.GREEN), self

    @staticmethod
    def from_dict(values: dict[str, str]) -> "Check":
        return Check(values["name"], Level(values["level"]), values["says"], values["remedy"])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def green(name: str, says: str) -> Check:
    return Check(name, Level.GREEN, says)


def yellow(name: str, says: str, remedy: str) -> Check:
    return Check(name, Level.YELLOW, says, remedy)


def red(name: str, says: str, remedy: str) -> Check:
    return Check(name, Level.RED, says, remedy)


def attempt(name: str, check: Callable[[], Check]) -> Check:
    """The check's result; where the check itself fails, a red one, so that the other checks still run."""
    try:
        return check()
    except Exception as error:
        return failed(name, error)


def failed(name: str, error: Exception) -> Check:
    """Red, for a check that ended in an exception."""
    return red(name, f"{type(error).__name__}: {first_line(error)}", "fix this, the run would fail likewise")


def first_line(error: Exception) -> str:
    """The first line of the exception's message."""
    return (str(error).strip() or "no message").splitlines()[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """A check, and the ranks on which it had this very result."""

    check: Check
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found on a job of `ranks` ranks, in the order in which the checks were made."""

    ranks: int
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst level of all checks."""
        return max((each.check.level for each in self.findings), key=lambda level: level.severity)


def gathered(by_rank: Sequence[Sequence[Check]]) -> Report:
    """The checks of each rank, by rank -> one report, in which equal results of several ranks appear once."""
    names = list(dict.fromkeys(check.name for checks in by_rank for check in checks))
    found: dict[Check, list[int]] = {}
    for rank, checks in enumerate(by_rank):
        for check in checks:
            found.setdefault(check, []).append(rank)
    ordered = sorted(found.items(), key=lambda item: names.index(item[0].name))
    return Report(len(by_rank), tuple(Finding(check, tuple(ranks)) for check, ranks in ordered))
