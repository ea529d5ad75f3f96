"""What requests ask of a gallery waits in queues, which have an end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest

from partialfc.serving.gallery.changes import Change
from partialfc.serving.gallery.update import create
from partialfc.serving.rows import unit_rows
from partialfc.serving.service.gallery import ServedGallery
from partialfc.serving.service.limits import Limits
from partialfc.serving.service.numbers import Numbers
from partialfc.serving.service.problem import Problem
from partialfc.serving.service.searcher import Searcher
from tests.serving.service.cases import CARD

ROW = unit_rows(np.eye(1, CARD.embedding_size, dtype=np.float32))


def test_there_is_room_for_as_many_questions_of_each_kind_as_the_queue_has(tmp_path: Path) -> None:
    gallery = ServedGallery(tmp_path / "g", CARD, model=Path("m.onnx"), writable=True)
    gallery.change([Change("anna", ROW)])
    numbers = Numbers(version="1", model="m")
    with closing(Searcher(gallery, limits=Limits(queue=64), numbers=numbers)) as searcher:

        async def asked(times: int) -> list[list[object]]:
            kinds = (
                lambda: searcher.count("anna"),
                lambda: searcher.search(ROW[0], 1),
                lambda: searcher.change(Change("bob", ROW)),
            )
            return [
                await asyncio.gather(*(kind() for _ in range(times)), return_exceptions=True)
                for kind in kinds
            ]

        for found in asyncio.run(asked(70)):
            refused = [each for each in found if isinstance(each, Problem)]
            assert [each.status for each in refused] == [HTTPStatus.SERVICE_UNAVAILABLE] * 6
        assert asyncio.run(asked(1))[0] == [1]


def test_a_search_that_fails_is_not_told_as_the_models_failure(tmp_path: Path) -> None:
    """As on a gallery whose file of names was damaged while it was served."""
    listed = [("anna", ""), ("bob", "")]
    create(tmp_path / "g", CARD, [(np.repeat(ROW, 2, axis=0), listed)])
    gallery = ServedGallery(tmp_path / "g", CARD, model=Path("m.onnx"), writable=False)
    (file,) = (tmp_path / "g").glob("names-*.txt")
    file.write_text("anna and bob")
    numbers = Numbers(version="1", model="m")
    with closing(Searcher(gallery, limits=Limits(), numbers=numbers)) as searcher:

        async def asked(question: Callable[[], Awaitable[object]]) -> Problem:
            with pytest.raises(Problem) as raised:
                await question()
            return raised.value

        for field, question in (
            ("search", lambda: searcher.search(ROW[0], 1)),
            ("names", lambda: searcher.count("anna")),
        ):
            problem = asyncio.run(asked(question))
            assert (problem.status, problem.field) == (HTTPStatus.INTERNAL_SERVER_ERROR, field)
            assert "has 0 lines for 2 rows" in str(problem.value)
            assert problem.rule == "must not fail: see the service's log"
