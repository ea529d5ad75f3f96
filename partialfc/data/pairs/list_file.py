"""Text lists of pairs: a line `path_a path_b 1` for the same identity or `path_a path_b 0` for two; and those
of published sets.
"""

import csv
from pathlib import PurePath

from partialfc.data.pairs.listed import Pair, PairList
from partialfc.data.pairs.published import published
from partialfc.errors import PairsError


def parse_list(data: bytes) -> PairList:
    """A list's content -> its pairs. Raises PairsError, which names the line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad_line = data.count(b"\n", 0, error.start) + 1
        raise PairsError(f"line {bad_line}: not UTF-8 text; save the list as UTF-8") from error
    numbered = enumerate(map(str.strip, text.split("\n")), start=1)
    lines = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    found = published(lines) if lines else None
    if found is not None:
        return found
    return PairList([_pair(line, number) for number, line in lines], lambda name: str(PurePath(name).parent))


def _pair(line: str, number: int) -> Pair:
    for separator in ("\t", ",", None):
        match [field.strip() for field in _split(line, separator)]:
            case [first, second, "0" | "1" as flag] if first and second:
                return Pair(number, first, second, flag == "1")
    raise PairsError(
        f"line {number}: {line!r} must be path_a, path_b and 1 (same) or 0 (not), separated by tabs, commas "
        "or blanks; or the list be one of LFW's, CALFW's, CPLFW's, SLLFW's or YTF's layout"
    )


def _split(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error:  # a quote without its other half: not this separator
        return []
