"""Whom the ranks blame, by what each of them says of itself."""

import threading

import pytest
import torch.distributed as dist

from partialfc.distributed.inquiry import Answer, Inquiry, blame, place_of
from partialfc.distributed.rendezvous import looks

WAITS = Answer("a.py:1 (f)", waits=True)
SILENT = "look for the first error in the silent rank's log"


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        pytest.param({0: WAITS, 1: WAITS}, f"no answer from ranks 2-3; {SILENT}", id="silent"),
        pytest.param(
            {0: WAITS, 1: WAITS, 2: Answer("b.py:2 (g)"), 3: Answer("b.py:2 (g)")},
            "ranks 2-3 did not come to it, but was at b.py:2 (g)",
            id="elsewhere",
        ),
        pytest.param(
            {0: WAITS, 1: Answer(ended="MemoryError: too much"), 3: Answer("b.py:2 (g)")},
            "rank 1 ended with MemoryError: too much; rank 3 did not come to it, but was at b.py:2 (g); "
            f"no answer from rank 2; {SILENT}",
            id="all-kinds",
        ),
        pytest.param(
            {0: WAITS, 1: WAITS, 2: Answer("b.py:2 (g)", waits=True), 3: WAITS},
            "every rank waits for the others: they called different collectives, or a device or the network "
            "between them hangs (ranks 0-1, 3 at a.py:1 (f), rank 2 at b.py:2 (g))",
            id="all-wait",
        ),
    ],
)
def test_blame(answers, says):
    assert blame(answers, 4) == says


def test_the_first_verdict_is_every_ranks():
    store = dist.HashStore()
    first, second, late = (Inquiry(store, rank=rank, size=3) for rank in (1, 2, 0))
    assert not first.is_open()
    first.open()
    assert second.is_open()
    second.answer(WAITS)
    first.answer(WAITS)
    late.answer(Answer(ended="ValueError: no"))
    assert first.verdict() == "rank 0 ended with ValueError: no"
    late.answer(WAITS)
    assert second.verdict() == "rank 0 ended with ValueError: no"


def test_the_place_of_a_thread_is_its_innermost_line_in_the_package():
    over = threading.Event()
    thread = threading.Thread(target=lambda: next(look for look in looks(100) if over.is_set()))
    assert place_of(-1) == "its end"
    thread.start()
    while "(looks)" not in (place := place_of(thread.ident)):
        assert thread.is_alive()
    assert place.startswith("partialfc/distributed/rendezvous.py:")
    over.set()
    thread.join()
