"""Ranks as people read them."""

from collections.abc import Iterator, Sequence


def named_ranks(ranks: Sequence[int]) -> str:
    """[0, 1, 2, 5] -> "ranks 0-2, 5"; ascending."""
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(_runs(ranks))


def _runs(ranks: Sequence[int]) -> Iterator[str]:
    start = 0
    for index, rank in enumerate(ranks):
        if index + 1 == len(ranks) or ranks[index + 1] != rank + 1:
            yield str(rank) if start == index else f"{ranks[start]}-{rank}"
            start = index + 1
