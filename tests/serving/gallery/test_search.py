"""The best rows of a gallery are exactly those of plain float64, whatever they are stored in."""

import subprocess
import sys

import numpy as np
import pytest

from partialfc.errors import DataError
from partialfc.serving.gallery import faiss_index, products, segments, top_k
from partialfc.serving.gallery.gallery import Gallery
from partialfc.serving.gallery.products import FloatProduct, product_of
from partialfc.serving.rows import unit_rows
from tests.processes import ENVIRONMENT
from tests.serving.gallery.cases import best, card_of, make, names, random_rows, stored_rows

STORAGES = ("float32", "float16", "int8")


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("k", [1, 5, 200])
@pytest.mark.parametrize("block", [top_k.BLOCK, 64])
def test_the_best_are_exact(tmp_path, monkeypatch, storage, k, block):
    monkeypatch.setattr(top_k, "BLOCK", block)
    gallery = make(tmp_path / "g", random_rows(3000), storage=storage)
    queries = random_rows(150, seed=1)
    scores, places = gallery.search_places(queries, k)
    expected, order = best(stored_rows(gallery), queries, k)
    assert np.array_equal(places, order)
    assert np.array_equal(scores, expected)


@pytest.mark.parametrize("storage", STORAGES)
def test_rows_that_lie_together_are_told_apart(tmp_path, storage):
    """Thousands that differ less than a product in 8 bits can tell: all are candidates."""
    near = unit_rows(random_rows(1) + 1e-3 * random_rows(5000, seed=2))
    gallery = make(tmp_path / "g", near, storage=storage)
    queries = random_rows(3, seed=0)
    scores, places = gallery.search_places(queries, 5)
    expected, order = best(stored_rows(gallery), queries, 5)
    assert np.array_equal(places, order)
    assert np.array_equal(scores, expected)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("left", [1, 3, 20, 2999])
def test_rows_that_were_removed_are_not_among_the_best(tmp_path, storage, left):
    """They were the best ones, and the first ones."""
    queries = random_rows(2, seed=1)
    near = unit_rows(queries[np.arange(3000 - left) % 2] + 0.1 * random_rows(3000 - left, seed=2))
    listed = [("gone", "")] * len(near) + [("left", "")] * left
    gallery = make(tmp_path / "g", np.concatenate([near, random_rows(left)]), names=listed, storage=storage)
    (segment,) = gallery._view.segments
    scores, places = top_k.top_k([segment.without({b"gone"})], unit_rows(queries), 5)
    expected, order = best(stored_rows(gallery)[len(near) :], queries, 5)
    assert np.array_equal(places, order + len(near))
    assert np.array_equal(scores, expected)


@pytest.mark.parametrize("storage", STORAGES)
def test_of_equal_rows_the_earlier_one_is_better(tmp_path, storage):
    rows = np.repeat(random_rows(3), 700, axis=0)
    gallery = make(tmp_path / "g", rows, storage=storage)
    scores, places = gallery.search_places(rows[[0, 700, 1400]], 4)
    assert places.tolist() == [[start, start + 1, start + 2, start + 3] for start in (0, 700, 1400)]
    assert (scores == scores[:, :1]).all()


def test_large_numbers_in_few_rows_have_scales_of_their_own(tmp_path):
    rows = random_rows(2000)
    rows[::97] = np.eye(32, dtype=np.float32)[np.arange(len(rows[::97])) % 32]
    gallery = make(tmp_path / "g", rows, storage="int8")
    np.testing.assert_allclose(stored_rows(gallery), rows, atol=0.004)
    queries = np.concatenate([rows[::97], random_rows(9, seed=1)])
    scores, places = gallery.search_places(queries, 5)
    expected, order = best(stored_rows(gallery), queries, 5)
    assert np.array_equal(places, order)
    assert np.array_equal(scores, expected)
    np.testing.assert_allclose(scores[:21, 0], 1, atol=1e-6)


def test_opposite_rows_have_negative_cosines(tmp_path):
    row = random_rows(1)
    gallery = make(tmp_path / "g", np.repeat(row, 3, axis=0), storage="int8")
    scores, places = gallery.search_places(-row, 2)
    np.testing.assert_allclose(scores, -1, atol=0.01)
    assert places.tolist() == [[0, 1]]


def test_int8_is_near_float32(tmp_path):
    rows, queries = random_rows(4000, width=512), random_rows(40, width=512, seed=1)
    exact, _ = make(tmp_path / "a", rows).search_places(queries, 1)
    found, _ = make(tmp_path / "b", rows, storage="int8").search_places(queries, 1)
    np.testing.assert_allclose(found, exact, atol=0.003)


@pytest.mark.parametrize("width", [64, 128, 512])
def test_how_far_cosines_are_off_in_int8_follows_the_width(tmp_path, width):
    """As docs/how-to/gallery.md has it: 0.0125 / sqrt(D), five times that at most as a rule."""
    rows, queries = random_rows(2000, width=width), random_rows(20, width=width, seed=1)
    stored = stored_rows(make(tmp_path / "g", rows, storage="int8"))
    off = (stored - rows.astype(np.float64)) @ queries.astype(np.float64).T * np.sqrt(width)
    assert off.std() == pytest.approx(0.0125, rel=0.05)
    assert np.abs(off).max() < 5 * 0.0125


@pytest.mark.parametrize("storage", STORAGES)
def test_several_segments_are_one_gallery(tmp_path, storage, monkeypatch):
    monkeypatch.setattr(segments, "MOST_ROWS", 300)
    rows, queries = random_rows(1000), random_rows(10, seed=1)
    many = make(tmp_path / "many", rows, storage=storage)
    assert [len(segment) for segment in many._view.segments] == [300, 300, 300, 100]
    monkeypatch.undo()
    one = make(tmp_path / "one", rows, storage=storage)
    assert many.search(queries, 7) == one.search(queries, 7)
    assert [*many.names()] == [*one.names()]


def test_whole_numbers_and_floats_agree(tmp_path):
    """The product where the CPU has instructions for it, and that of any other CPU."""
    gallery = make(tmp_path / "g", random_rows(900, width=512), storage="int8")
    (segment,) = gallery._view.segments
    queries = random_rows(5, width=512, seed=1)
    exact = segment.floats(slice(0, 900)) @ queries.astype(np.float64).T
    kinds = [product_of(queries, "int8", 1), FloatProduct(queries)]
    assert len({type(kind) for kind in kinds}) == 2
    for kind in kinds:
        found = (kind(segment, 0, 900).astype(np.float64) + kind.offset) * kind.scale
        assert (np.abs(found * segment.scales[:900, None] - exact) <= kind.error).all()


def test_without_onnxruntime_the_best_are_the_same(tmp_path, monkeypatch):
    gallery, queries = make(tmp_path / "g", random_rows(2000), storage="int8"), random_rows(9, seed=1)
    by_onnxruntime = gallery.search(queries, 5)
    monkeypatch.setattr(products, "_int8_session", lambda threads: None)
    assert gallery.search(queries, 5) == by_onnxruntime


def test_an_empty_gallery_finds_nobody(tmp_path):
    gallery = make(tmp_path / "g", np.empty((0, 32), np.float32))
    assert len(gallery) == 0
    assert gallery.search(random_rows(2), 5) == [[], []]


def test_k_beyond_the_size_gives_all(tmp_path):
    rows = random_rows(3)
    gallery = make(tmp_path / "g", rows)
    (found,) = gallery.search(rows[:1], 50)
    assert found[0].key == "images/0.png"
    assert len(found) == 3
    assert gallery.search(rows[:0], 5) == []


@pytest.mark.parametrize("number", [0.0, np.nan, np.inf], ids=["zero", "nan", "inf"])
def test_a_query_without_a_direction_is_refused(tmp_path, number):
    gallery = make(tmp_path / "g", random_rows(3))
    queries = random_rows(2)
    queries[1] = number
    with pytest.raises(DataError, match="the embedding of query 1 is zero or not finite"):
        gallery.search(queries)


def test_other_shapes_are_refused(tmp_path):
    gallery = make(tmp_path / "g", random_rows(3))
    with pytest.raises(ValueError, match=r"rows are \[2, 31\]; they must be \[n, 32\]"):
        gallery.search(random_rows(2, width=31))
    with pytest.raises(ValueError, match="k is 0"):
        gallery.search(random_rows(2), 0)
    with pytest.raises(IndexError, match="place 3: there are 3 rows"):
        gallery.name(3)


@pytest.mark.parametrize("factory", ["Flat", "HNSW32", "IVF8,Flat"])
def test_faiss_finds_candidates_and_their_scores_are_exact(tmp_path, factory):
    rows = random_rows(2000)
    gallery = make(tmp_path / "g", rows, faiss=factory)
    queries = unit_rows(rows[::40] + 0.02 * random_rows(50, seed=3))
    scores, places = gallery.search_places(queries, 3)
    expected, order = best(stored_rows(gallery), queries, 3)
    assert (places[:, 0] == order[:, 0]).mean() > 0.9
    same = places[:, 0] == order[:, 0]
    assert np.array_equal(scores[same, 0], expected[same, 0])
    if factory == "Flat":
        assert np.array_equal(places, order)


@pytest.mark.parametrize("factory", ["IVF16,Flat", "PCA32,IVF16,Flat"])
def test_few_cells_are_all_looked_into(tmp_path, factory):
    rows = random_rows(700)
    gallery, queries = make(tmp_path / "g", rows, faiss=factory), random_rows(30, seed=1)
    _, order = best(stored_rows(gallery), queries, 3)
    for opened in (gallery, Gallery(gallery.folder)):
        _, places = opened.search_places(queries, 3)
        assert np.array_equal(places, order)


def test_faiss_tells_nothing_of_how_it_was_loaded(tmp_path):
    make(tmp_path / "g", random_rows(3), faiss="Flat")
    script = (
        "import logging; logging.basicConfig(level=20); from partialfc.serving.gallery.gallery import Gallery"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; Gallery('g')"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("how", [{"storage": "int8"}, {"faiss": "IVF16,Flat"}], ids=["int8", "faiss"])
def test_queries_and_batches_do_not_matter(tmp_path, monkeypatch, how):
    """Also where faiss, which looks into a part of the rows, finds too few for some queries."""
    monkeypatch.setattr(faiss_index, "LEAST_CELLS", 1)
    gallery, queries = make(tmp_path / "g", random_rows(700), **how), random_rows(30, seed=1)
    together = gallery.search(queries, 60)
    assert [gallery.search(query[None], 60)[0] for query in queries] == together
    monkeypatch.setattr(top_k, "QUERIES", 7)
    assert gallery.search(queries, 60) == together
    assert {len(found) for found in together} == {60}


def test_where_faiss_finds_too_few_all_rows_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(faiss_index, "LEAST_CELLS", 1)
    rows, queries = random_rows(700), random_rows(30, seed=1)
    gallery = make(tmp_path / "g", rows, faiss="IVF16,Flat")
    scores, places = gallery.search_places(queries, 300)
    expected, order = best(stored_rows(gallery), queries, 300)
    assert np.array_equal(scores, expected)
    assert np.array_equal(places, order)


def test_a_gallery_reads_back_rows_names_and_keys(tmp_path):
    rows = random_rows(5)
    listed = [("a\\nb", "k\\n1"), ("c d", "x"), ("e\\f", "y"), ("staff/g", ""), ("naïve", "z\udcff")]
    gallery = make(tmp_path / "g", rows, names=listed)
    assert [gallery.name(place) for place in range(5)] == listed
    np.testing.assert_allclose(gallery.rows([3, 1]), rows[[3, 1]], atol=1e-6)
    assert (gallery.card, gallery.width, len(gallery)) == (card_of(32), 32, 5)
    assert isinstance(gallery, Gallery)
    assert names(1) == [("name0", "images/0.png")]
