"""The lines of a report."""

from partialfc.doctor import describe, to_dict
from partialfc.doctor.check import gathered, green, red, yellow


def test_a_line_has_the_level_the_ranks_and_the_remedy():
    report = gathered([[green("a", "fine")], [red("a", "broken", "mend it")], [green("a", "good")]])
    lines = describe(report, colour=False).splitlines()
    assert lines == ["red     a             rank 1: broken -> mend it", "1 red: this job should not start"]
    assert to_dict(report)["checks"][1]["ranks"] == [1]


def test_what_only_some_ranks_check_names_no_rank_and_yellow_lets_the_job_start():
    report = gathered([[green("a", "x"), yellow("b", "slow", "hurry")], [green("a", "y")]])
    lines = describe(report, colour=False).splitlines()
    assert lines[0] == "green   a             x"
    assert lines[1] == "yellow  b             slow -> hurry"
    assert lines[2] == "1 yellow, 1 green: this job can start"
