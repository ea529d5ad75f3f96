"""A report as lines for people, and as plain values for programs."""

from collections.abc import Collection
from typing import Any

from partialfc.distributed.ranks import named_ranks
from partialfc.doctor.check import Finding, Level, Report

COLOURS = {Level.GREEN: "\033[32m", Level.YELLOW: "\033[33m", Level.RED: "\033[31m"}
PLAIN = "\033[0m"
NAME_WIDTH = 14
LEVEL_WIDTH = 8


def describe(report: Report, *, colour: bool) -> str:
    """A line for each check and level, with its ranks where not all agree, and a last line of counts."""
    made = _made_by(report)
    lines = [_line(finding, made[finding.check.name], colour=colour) for finding in worth_showing(report)]
    return "\n".join([*lines, _verdict(report)])


def to_dict(report: Report) -> dict[str, Any]:
    """{"level", "ranks", "checks": [{"name", "level", "says", "remedy", "ranks": [...]}]}."""
    checks = [{**each.check.to_dict(), "ranks": list(each.ranks)} for each in report.findings]
    return {"level": report.level, "ranks": report.ranks, "checks": checks}


def worth_showing(report: Report) -> list[Finding]:
    """Of each check a finding for each level that is not green, the worst first; else the green one.

    Where ranks have the same level in different words, those of the first rank are shown.
    """
    shown = []
    for name in dict.fromkeys(each.check.name for each in report.findings):
        levels: dict[Level, list[Finding]] = {}
        for each in report.findings:
            if each.check.name == name:
                levels.setdefault(each.check.level, []).append(each)
        for level in sorted(levels, key=lambda level: -level.severity):
            if level != Level.GREEN or len(levels) == 1:
                ranks = sorted({rank for each in levels[level] for rank in each.ranks})
                shown.append(Finding(levels[level][0].check, tuple(ranks)))
    return shown


def _made_by(report: Report) -> dict[str, set[int]]:
    """By check, the ranks that made it."""
    made: dict[str, set[int]] = {}
    for each in report.findings:
        made.setdefault(each.check.name, set()).update(each.ranks)
    return made


def _line(finding: Finding, made_by: Collection[int], *, colour: bool) -> str:
    check = finding.check
    level = f"{check.level:<{LEVEL_WIDTH}}"
    if colour:
        level = f"{COLOURS[check.level]}{level}{PLAIN}"
    where = "" if len(finding.ranks) == len(made_by) else f"{named_ranks(finding.ranks)}: "
    remedy = f" -> {check.remedy}" if check.remedy else ""
    return f"{level}{check.name:<{NAME_WIDTH}}{where}{check.says}{remedy}"


def _verdict(report: Report) -> str:
    shown = worth_showing(report)
    count = {level: sum(each.check.level == level for each in shown) for level in Level}
    parts = [f"{count[level]} {level}" for level in reversed(Level) if count[level]]
    return f"{', '.join(parts)}: " + (
        "this job should not start" if report.level == Level.RED else "this job can start"
    )
