"""One check."""

from partialfc.doctor import Check, Level
from partialfc.doctor.check import attempt


def test_a_check_that_fails_itself_is_red():
    def check() -> Check:
        raise RuntimeError("first line\nsecond line")

    made = attempt("name", check)
    assert made.level == Level.RED
    assert made.says == "RuntimeError: first line"
