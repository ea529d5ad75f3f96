"""What one check found, and the same from many ranks put together."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """green: go; yellow: the job runs, but worse than it could; red: it fails, or a day is lost."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"

    @property
    def severity(self) -> int:
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class Check:
    """One line for people. Only what is green comes without a remedy."""

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
    """What the check finds; one that itself fails is red, so that the others still run."""
    try:
        return check()
    except Exception as error:
        return failed(name, error)


def failed(name: str, error: Exception) -> Check:
    return red(name, f"{type(error).__name__}: {first_line(error)}", "mend this, the run would meet it too")


def first_line(error: Exception) -> str:
    return (str(error).strip() or "no message").splitlines()[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """The same check with the same words on some ranks."""

    check: Check
    ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found on `ranks` ranks, check by check in the order they were made."""

    ranks: int
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        return max((each.check.level for each in self.findings), key=lambda level: level.severity)


def gathered(by_rank: Sequence[Sequence[Check]]) -> Report:
    """The checks of rank 0, of rank 1, ... -> one report in which what is equal appears once."""
    names = list(dict.fromkeys(check.name for checks in by_rank for check in checks))
    found: dict[Check, list[int]] = {}
    for rank, checks in enumerate(by_rank):
        for check in checks:
            found.setdefault(check, []).append(rank)
    ordered = sorted(found.items(), key=lambda item: names.index(item[0].name))
    return Report(len(by_rank), tuple(Finding(check, tuple(ranks)) for check, ranks in ordered))
