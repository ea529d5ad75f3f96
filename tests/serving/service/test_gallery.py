"""The gallery of a service: searched by name, now and after a restart."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partialfc.errors import ConfigError, DataError
from partialfc.serving.gallery.changes import Change
from partialfc.serving.gallery.gallery import Gallery
from partialfc.serving.gallery.manifest import Storage
from partialfc.serving.gallery.update import create
from partialfc.serving.service.gallery import MOST_ROWS, ServedGallery
from tests.serving.service.cases import CARD

WIDTH, COUNT, NAMES = CARD.embedding_size, 300, 40
QUERIES = 10


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


ROWS = unit(COUNT, 0)
OF = [f"name-{index}" for index in np.random.default_rng(1).integers(NAMES, size=COUNT)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "people", CARD, [(ROWS, [(name, f"{n}.png") for n, name in enumerate(OF)])])
    return tmp_path / "people"


def opened(folder: Path, *, writable: bool = True) -> closing[ServedGallery]:
    return closing(ServedGallery(folder, CARD, model=Path("small.onnx"), writable=writable))


def plainly(queries: np.ndarray, rows: np.ndarray, names: list[str], k: int) -> list[list[tuple[str, float]]]:
    """Every cosine, the best of each name, and the k best of these."""
    found = []
    for cosines in queries.astype(np.float64) @ rows.T.astype(np.float64):
        best: dict[str, float] = {}
        for name, cosine in zip(names, cosines, strict=True):
            best[name] = max(cosine, best.get(name, -2))
        found.append(sorted(best.items(), key=lambda each: -each[1])[:k])
    return found


def assert_found(gallery: ServedGallery, rows: np.ndarray, names: list[str], k: int) -> None:
    queries = unit(QUERIES, 5)
    found = gallery.search(queries, k)
    for mine, theirs in zip(found, plainly(queries, rows, names, k), strict=True):
        assert [each.name for each in mine] == [name for name, _ in theirs]
        assert [each.score for each in mine] == pytest.approx([score for _, score in theirs], abs=1e-5)
    assert len(gallery) == len(rows)


@pytest.mark.parametrize("k", [1, 7, 100])
def test_changes_are_searched_with_what_was_built(folder: Path, k: int) -> None:
    """A name with one more image, a new one, one that is removed, and one that is removed and comes again."""
    new = unit(4, 9)
    gone, again = OF[0], next(name for name in OF if name != OF[0])
    changes = [
        Change(OF[-1], new[:1]),
        Change("new", new[1:3]),
        Change(gone, None),
        Change(again, None),
        Change(again, new[3:]),
    ]
    kept = [index for index, name in enumerate(OF) if name not in (gone, again)]
    rows = np.concatenate([ROWS[kept], new])
    names = [*(OF[index] for index in kept), OF[-1], "new", "new", again]
    with opened(folder) as gallery:
        assert_found(gallery, ROWS, OF, k)
        assert gallery.change(changes) == [1, 2, OF.count(gone), OF.count(again), 1]
        assert_found(gallery, rows, names, k)
        assert gallery.counts([gone, again, "new", gone]) == [0, 1, 2, 0]
        assert gallery.change([Change(gone, None), Change("new", None), Change("new", None)]) == [0, 2, 0]
        assert gallery.change([Change("new", new[1:3])]) == [2]
    for writable in (True, False):
        with opened(folder, writable=writable) as gallery:
            assert_found(gallery, rows, names, k)


def test_a_name_with_most_of_the_rows_takes_one_place(tmp_path: Path) -> None:
    names = ["all"] * (COUNT - 3) + ["a", "b", "c"]
    create(tmp_path / "people", CARD, [(ROWS, [(name, "") for name in names])])
    with opened(tmp_path / "people") as gallery:
        assert_found(gallery, ROWS, names, 3)


def test_names_behind_very_many_rows_of_one_are_not_looked_for(tmp_path: Path) -> None:
    """So that memory and time of a search do not grow with a gallery of few names."""
    near, far = unit(2, 3)
    crowd = np.repeat(near[None], MOST_ROWS, axis=0)
    create(tmp_path / "g", CARD, [(np.vstack([crowd, far]), [*[("crowd", "")] * MOST_ROWS, ("alone", "")])])
    with opened(tmp_path / "g", writable=False) as gallery:
        found = gallery.search(np.stack([near, far]), 2)
    assert [[each.name for each in names] for names in found] == [["crowd"], ["alone", "crowd"]]


def test_faiss_does_not_keep_names_from_being_found(tmp_path: Path) -> None:
    """Most rows are alike and of one name, so the index cannot reach the others from there."""
    crowd = unit(1, 3) + 0.1 * unit(COUNT, 4)
    rows = np.concatenate([crowd / np.linalg.norm(crowd, axis=1, keepdims=True), ROWS[:5]])
    names = ["crowd"] * COUNT + list("abcde")
    create(tmp_path / "g", CARD, [(rows, [(name, "") for name in names])], faiss="HNSW2")
    with opened(tmp_path / "g", writable=False) as gallery:
        found = gallery.search(unit(1, 3), 6)[0]
    best = plainly(unit(1, 3), rows, names, 6)[0]
    assert [each.name for each in found] == [name for name, _ in best]
    assert [each.score for each in found] == pytest.approx([score for _, score in best], abs=1e-5)


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_of_equal_images_the_first_by_name_is_the_best(tmp_path: Path, storage: Storage, k: int) -> None:
    """However many there are, and wherever they lie; scores are cosines, and the same after a restart."""
    row, built = unit(1, 3), ["f", "e", "d", "d", "d", "d", "d", "d"]
    create(
        tmp_path / "g", CARD, [(np.repeat(row, 8, axis=0), [(each, "") for each in built])], storage=storage
    )
    with opened(tmp_path / "g") as gallery:
        gallery.change([Change(name, row) for name in ("c", "b", "a")])
        first = gallery.search(row, k)
        assert [each.name for each in first[0]] == ["a", "b", "c", "d", "e", "f"][:k]
        assert all(-1 <= each.score <= 1 for each in first[0])
    for writable in (False, True, True):
        with opened(tmp_path / "g", writable=writable) as gallery:
            assert gallery.search(row, k) == first


def test_readers_share_it_and_who_changes_it_is_alone(folder: Path) -> None:
    with opened(folder) as gallery, opened(folder, writable=False) as before:
        gallery.change([Change("new", unit(1, 9))])
        with pytest.raises(ConfigError, match="another process is changing it, or serves it with a token"):
            opened(folder)
        with opened(folder, writable=False) as after:
            assert (before.counts(["new"]), after.counts(["new"])) == ([0], [1])


def test_a_gallery_of_another_model_is_refused(folder: Path) -> None:
    other = replace(CARD, weights="cd" * 32)
    with pytest.raises(ConfigError, match="cannot be compared"):
        ServedGallery(folder, other, model=Path("other.onnx"), writable=True)


def test_only_one_that_may_be_changed_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is no gallery: make one with partialfc gallery build"):
        opened(tmp_path / "people", writable=False)
    assert list(tmp_path.iterdir()) == []
    with opened(tmp_path / "people") as gallery:
        assert gallery.search(unit(1, 0), 5) == [[]]
        assert len(gallery) == 0
    assert Gallery(tmp_path / "people").model == Path("small.onnx").absolute()
    (tmp_path / "volume" / "lost+found").mkdir(parents=True)
    with opened(tmp_path / "volume") as gallery:
        assert gallery.change([Change("anna", unit(2, 0))]) == [2]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rows-1.npy").touch()
    with pytest.raises(ConfigError, match="holds other files; name a folder of its own"):
        opened(tmp_path / "mine")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is no folder"):
        opened(tmp_path / "file")
