"""The pair lists of published sets, as their authors write them: LFW, CALFW, CPLFW, SLLFW and YTF."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from partialfc.data.pairs.listed import Pair, PairList
from partialfc.errors import PairsError

Lines = Sequence[tuple[int, str]]  # with their numbers, without empty ones
_NUMBER = re.compile(r"\d+")
_NUMBERED = re.compile(r"_\d+$")  # the end of an image's name


def published(lines: Lines) -> PairList | None:
    """The pairs of a list in one of these layouts, told by its first lines; None for another.

    LFW's `pairs.txt`: `name 1 2` and `name 1 name 2`; the first line has the number of sets and of genuine
    pairs in each. RFW's: the same without that line. CALFW's and CPLFW's: `image.jpg 1` on two lines a pair,
    0 for two people. SLLFW's: `name/image.jpg` on two lines a pair. YTF's: `1, 12, name/video, name/video, 1`
    in split 1.

    Raises PairsError, which names the line, where a later line does not fit.
    """
    for is_such, parse in (
        (_is_youtube, _youtube),
        (_is_numbered, _numbered),
        (_is_flagged, _flagged),
        (_is_named, _named),
    ):
        if is_such(lines):
            return parse(lines)
    return None


def _is_numbered(lines: Lines) -> bool:
    head = lines[0][1].split()
    return all(map(_NUMBER.fullmatch, head)) or (len(head) in (3, 4) and _of_numbers(head) is not None)


def _of_numbers(words: Sequence[str]) -> tuple[str, str, bool] | None:
    """`name 1 2` or `name 1 name 2` -> two images as LFW names them, and whether they show one person."""
    match words:
        case [name, first, second] if _NUMBER.fullmatch(first) and _NUMBER.fullmatch(second):
            return _image(name, first), _image(name, second), True
        case [name, first, other, second] if _NUMBER.fullmatch(first) and _NUMBER.fullmatch(second):
            return _image(name, first), _image(other, second), False
    return None


def _image(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"


def _numbered(lines: Lines) -> PairList:
    head = lines[0][1].split()
    sizes = [int(word) for word in head] if all(map(_NUMBER.fullmatch, head)) else []
    body = lines[1:] if sizes else lines
    pairs = []
    for place, (number, line) in enumerate(body):
        found = _of_numbers(line.split())
        if found is None:
            raise PairsError(
                f"line {number}: {line!r} must be `name 1 2` or `name 1 name 2`, as in LFW's list"
            )
        fold = place // (2 * sizes[1]) if len(sizes) == 2 else None
        pairs.append(Pair(number, *found, fold))
    if len(sizes) == 2 and len(pairs) != 2 * sizes[0] * sizes[1]:
        raise PairsError(
            f"line {lines[0][0]} says {sizes[0]} sets of {sizes[1]} genuine and as many impostor pairs, but "
            f"the list has {len(pairs)} pairs: it is incomplete"
        )
    return PairList(pairs, _folder, by_kind=len(sizes) != 2)


def _is_flagged(lines: Lines) -> bool:
    return "," not in lines[0][1] and _flagged_image(lines[0][1]) is not None


def _flagged_image(line: str) -> tuple[str, bool] | None:
    words = line.split()
    return (words[0], words[1] != "0") if len(words) == 2 and _NUMBER.fullmatch(words[1]) else None


def _flagged(lines: Lines) -> PairList:
    pairs = []
    for (number, line), (other_number, other) in _by_two(lines):
        first, second = _flagged_image(line), _flagged_image(other)
        if first is None or second is None or first[1] != second[1]:
            raise PairsError(
                f"lines {number} and {other_number}: {line!r} and {other!r} must be two images, each with "
                "the same number behind it, 0 for two people, as in CALFW's list"
            )
        pairs.append(Pair(number, first[0], second[0], first[1]))
    return PairList(pairs, _before_number, by_kind=True)


def _is_named(lines: Lines) -> bool:
    return all(re.fullmatch(r"[^\s,]+/[^\s,]+", line) for _, line in lines[:2])


def _named(lines: Lines) -> PairList:
    pairs = []
    for (number, line), (other_number, other) in _by_two(lines):
        if not (_folder(line) and _folder(other)):
            raise PairsError(
                f"lines {number} and {other_number}: {line!r} and {other!r} must be two images in their "
                "people's folders, `name/image.jpg`, as in SLLFW's list"
            )
        pairs.append(Pair(number, line, other, _folder(line) == _folder(other)))
    return PairList(pairs, _folder, by_kind=True)


def _is_youtube(lines: Lines) -> bool:
    return any(_of_videos(line) for _, line in lines[:2])


def _of_videos(line: str) -> tuple[int, str, str, bool] | None:
    match [field.strip() for field in line.split(",")]:
        case [split, pair, first, second, "0" | "1" as flag, *_] if (
            _NUMBER.fullmatch(split) and _NUMBER.fullmatch(pair) and first and second
        ):
            return int(split), first, second, flag == "1"
    return None


def _youtube(lines: Lines) -> PairList:
    body = lines if _of_videos(lines[0][1]) else lines[1:]  # there may be a line of titles
    pairs, splits = [], dict[int, int]()
    for number, line in body:
        found = _of_videos(line)
        if found is None:
            raise PairsError(
                f"line {number}: {line!r} must be `split, pair, name/video, name/video, 1` (or 0), as in "
                "YTF's list"
            )
        fold = splits.setdefault(found[0], len(splits))
        pairs.append(Pair(number, *found[1:], fold))
    return PairList(pairs, _folder, videos=True)


def _by_two(lines: Lines) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    if len(lines) % 2:
        raise PairsError(f"line {lines[-1][0]}: {lines[-1][1]!r} lacks the second image of its pair")
    return list(zip(lines[::2], lines[1::2], strict=True))


def _folder(name: str) -> str:
    parent = PurePosixPath(name).parent
    return "" if str(parent) == "." else str(parent)


def _before_number(name: str) -> str:
    """ "Carl_Reiner" for Carl_Reiner_0001.jpg."""
    return _NUMBERED.sub("", PurePosixPath(name).stem)
