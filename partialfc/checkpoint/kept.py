"""Which checkpoints of a run are kept, and in which order they are tried: decided by their names alone.

A new rule is a condition here. `folder.py` deletes by it, training/saving.py says when, and doctor/rank.py
counts how many there are at most; its keys are in config/checkpoint.py.
"""

from collections.abc import Iterable


def tried_in_order(names: Iterable[str], *, latest: str | None) -> list[str]:
    """The checkpoint that `latest` names, then the others from the newest to the oldest."""
    return sorted(sorted(names, reverse=True), key=lambda name: name != latest)


def superseded(names: Iterable[str], *, keep_last: int, best: str | None) -> list[str]:
    """Those to delete: all but the newest `keep_last` and the best."""
    return [name for name in sorted(names, reverse=True)[keep_last:] if name != best]
