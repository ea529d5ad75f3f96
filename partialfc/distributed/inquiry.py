"""Which rank the others wait for in vain: they ask each other through the store, and one of them judges.

A process that was killed or stopped does not answer; one that is busy elsewhere says where.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from torch.distributed.distributed_c10d import PrefixStore, Store

from partialfc.distributed.failures import blame_of_silence, not_there
from partialfc.distributed.ranks import named_ranks

ANSWER_SECONDS = 5.0  # how long the judge waits for answers, and the others then for what it says
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rank says of itself.

    at: where its program is. waits: whether its device waits for other ranks. ended: the error with which it
    ended, or "".
    """

    at: str = ""
    waits: bool = False
    ended: str = ""


class Inquiry:
    """One rank's part, through a store that other ranks have too. Its methods raise what the store raises."""

    def __init__(self, store: Store, *, rank: int, size: int) -> None:
        self._store = PrefixStore("partialfc/inquiry", store)
        self._rank, self._size = rank, size

    def open(self) -> None:
        """Ask every rank to answer."""
        self._store.set("opened", "")

    def is_open(self) -> bool:
        return bool(self._store.check(["opened"]))

    def answer(self, answer: Answer) -> None:
        self._store.set(str(self._rank), json.dumps(asdict(answer)))

    def verdict(self) -> str:
        """Who is to blame, the same text on every rank that asks; the first one collects the answers."""
        judge = int(self._store.compare_set("judge", "", str(self._rank)))
        if judge == self._rank:
            answers = self._answers()
            waiting = [rank for rank, answer in answers.items() if answer.waits]
            self._store.set("verdict", json.dumps({"says": blame(answers, self._size), "to": waiting}))
        if not_there(self._store, ["verdict"], 2 * ANSWER_SECONDS):
            return f"rank {judge} has looked for the silent rank and then ended; look at its log"
        verdict = json.loads(self._store.get("verdict"))
        self._store.set(f"heard/{self._rank}", "")
        if self._rank == 0:  # the store may be in its process, and end with it
            not_there(self._store, [f"heard/{rank}" for rank in verdict["to"]], ANSWER_SECONDS)
        said: str = verdict["says"]
        return said

    def _answers(self) -> dict[int, Answer]:
        ranks = [str(rank) for rank in range(self._size)]
        silent = set(not_there(self._store, ranks, ANSWER_SECONDS))
        there = [rank for rank in ranks if rank not in silent]
        return {int(rank): Answer(**json.loads(self._store.get(rank))) for rank in there}


def blame(answers: Mapping[int, Answer], size: int) -> str:
    """What the answers by rank, of so many ranks, say of why the others wait."""
    ended = _by_text({rank: answer.ended for rank, answer in answers.items() if answer.ended})
    absent = _by_text({rank: answer.at for rank, answer in answers.items() if not answer.waits})
    silent = [rank for rank in range(size) if rank not in answers]
    found = [f"{ranks} ended with {error}" for error, ranks in ended.items()]
    found += [f"{ranks} did not come to it, but was at {place}" for place, ranks in absent.items() if place]
    if silent:
        found.append(blame_of_silence(silent))
    if found:
        return "; ".join(found)
    places = _by_text({rank: answer.at for rank, answer in answers.items()})
    where = ", ".join(f"{ranks} at {place}" for place, ranks in places.items())
    return (
        "every rank waits for the others: they called different collectives, or a device or the network "
        f"between them hangs ({where})"
    )


def place_of(thread: int) -> str:
    """A thread's innermost line in this package, such as "partialfc/training/loop.py:171 (_train_step)"."""
    frame = sys._current_frames().get(thread)
    innermost = frame
    while frame is not None and not Path(frame.f_code.co_filename).is_relative_to(PACKAGE):
        frame = frame.f_back
    chosen = frame or innermost
    if chosen is None:
        return "its end"
    path = Path(chosen.f_code.co_filename)
    shown = path.relative_to(PACKAGE.parent) if path.is_relative_to(PACKAGE) else path
    return f"{shown}:{chosen.f_lineno} ({chosen.f_code.co_name})"


def _by_text(texts: Mapping[int, str]) -> dict[str, str]:
    """{0: a, 1: a, 2: b} -> {a: "ranks 0-1", b: "rank 2"}."""
    ranks: dict[str, list[int]] = {}
    for rank, text in sorted(texts.items()):
        ranks.setdefault(text, []).append(rank)
    return {text: named_ranks(those) for text, those in ranks.items()}
