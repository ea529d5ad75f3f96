"""Rows that were added to a gallery: found exactly, by name, and gone once they are removed."""

import numpy as np
import pytest

from partialfc.serving.service import added
from partialfc.serving.service.added import Added
from partialfc.serving.service.changes import Change

WIDTH, COUNT, NAMES = 8, 400, 60


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


ROWS = unit(COUNT, 0)
NAME_OF = [f"name-{index}" for index in np.random.default_rng(1).integers(NAMES, size=COUNT)]


def plainly(queries: np.ndarray, rows: np.ndarray, names: list[str], k: int) -> list[list[tuple[str, float]]]:
    """Every cosine, the best of each name, and the k best of these."""
    found = []
    for cosines in queries.astype(np.float64) @ rows.T.astype(np.float64):
        best: dict[str, float] = {}
        for name, cosine in zip(names, cosines, strict=True):
            best[name] = max(cosine, best.get(name, -2))
        found.append(sorted(best.items(), key=lambda each: -each[1])[:k])
    return found


def filled() -> Added:
    gallery = Added(WIDTH)
    for row, name in zip(ROWS, NAME_OF, strict=True):
        assert gallery.apply(Change(name, row[None])) == 1
    return gallery


@pytest.mark.parametrize("block", [7, 1 << 16], ids=["blocks", "one"])
@pytest.mark.parametrize("k", [1, 5, 100])
def test_the_nearest_names_are_those_of_every_cosine(
    k: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(added, "BLOCK", block)
    queries = unit(20, 2)
    found = filled().search(queries, k)
    for mine, theirs in zip(found, plainly(queries, ROWS, NAME_OF, k), strict=True):
        assert [each.name for each in mine] == [name for name, _ in theirs]
        assert [each.score for each in mine] == pytest.approx([score for _, score in theirs], abs=1e-6)


def test_a_name_with_most_rows_takes_one_place() -> None:
    gallery = Added(WIDTH)
    row = unit(1, 0)
    gallery.apply(Change("all", np.repeat(row, 50, axis=0)))
    gallery.apply(Change("other", -row))
    (found,) = gallery.search(row, 2)
    assert [(each.name, round(each.score, 5)) for each in found] == [("all", 1.0), ("other", -1.0)]


def test_what_is_removed_is_gone_and_may_come_again() -> None:
    gallery = filled()
    gone = NAME_OF[0]
    assert gallery.apply(Change(gone, None)) == NAME_OF.count(gone)
    assert gallery.apply(Change(gone, None)) == 0
    kept = [index for index, name in enumerate(NAME_OF) if name != gone]
    assert len(gallery) == len(kept)
    queries = unit(20, 2)
    for mine, theirs in zip(
        gallery.search(queries, 5), plainly(queries, ROWS[kept], [NAME_OF[i] for i in kept], 5), strict=True
    ):
        assert [each.name for each in mine] == [name for name, _ in theirs]
    assert gallery.removed == {gone}
    gallery.apply(Change(gone, queries[:1]))
    assert gallery.search(queries[:1], 1)[0][0].name == gone
    assert gallery.count(gone) == 1


def test_an_empty_one_finds_nobody() -> None:
    assert Added(WIDTH).search(unit(2, 0), 3) == [[], []]
