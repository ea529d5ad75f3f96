"""A faiss index over the rows of a gallery: quicker, and with most kinds not exact."""

import errno
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.errors import ConfigError, DataError, MissingExtraError, installing
from partialfc.serving.gallery.segments import Segment
from partialfc.serving.gallery.top_k import Places, Scores, exact_scores, top_k
from partialfc.serving.rows import Rows

FACTORY = "HNSW32"
MORE, LEAST = 4, 256  # times k, or rows, that it is asked for, so that exact scores choose among them
BLOCK = 1 << 16
TRAINED_ON = 1 << 18  # rows, at most, of an index that is trained
CELLS, LEAST_CELLS = 32, 16  # of an index with cells (IVF), a search looks into one of so many, or so many


class FaissIndex:
    """Finds candidates, whose order their exact scores decide."""

    def __init__(self, index: Any) -> None:
        self._index = index
        if (cells := _faiss().try_extract_index_ivf(index)) is not None:
            cells.nprobe = min(cells.nlist, max(LEAST_CELLS, cells.nlist // CELLS))

    @classmethod
    def read(cls, folder: Path, number: int) -> "FaissIndex":
        """Raises DataError for a damaged file, MissingExtraError without faiss."""
        path = path_of(folder, number)
        os.stat(path)  # FileNotFoundError, which is another thing than damage
        try:
            return cls(_faiss().read_index(str(path)))
        except RuntimeError as error:
            raise DataError(f"{path}: faiss cannot read it: {error}") from error

    @classmethod
    def build(cls, segments: Sequence[Segment], width: int, factory: str) -> "FaissIndex":
        """Over all rows. Raises ConfigError for a factory string that faiss does not know."""
        faiss = _faiss()
        try:
            index = faiss.index_factory(width, factory, faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            raise ConfigError(
                f"--faiss is {factory!r}, which faiss does not know: {_reason(error)}"
            ) from error
        blocks = [(segment, start) for segment in segments for start in range(0, len(segment), BLOCK)]
        if not index.is_trained and blocks:
            step = max(1, sum(map(len, segments)) // TRAINED_ON)
            rows = np.concatenate([segment.floats(slice(None, None, step)) for segment in segments])
            try:
                index.train(rows.astype(np.float32))
            except RuntimeError as error:
                raise ConfigError(f"--faiss is {factory!r}: {_reason(error)}") from error
        for segment, start in blocks:
            index.add(segment.floats(slice(start, start + BLOCK)).astype(np.float32))
        return cls(index)

    def write(self, folder: Path, number: int) -> None:
        """Put it on the disk. Raises OSError where faiss cannot, such as on a full one."""
        path = path_of(folder, number)
        try:
            _faiss().write_index(self._index, str(path))
        except RuntimeError as error:
            raise OSError(errno.EIO, f"faiss cannot write it: {error}", str(path)) from error
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def search(
        self, segments: Sequence[Segment], queries: Rows, k: int, *, threads: int
    ) -> tuple[Scores, Places]:
        """As `top_k`, among the candidates of the index; where it has fewer than it is asked for, of all."""
        _faiss().omp_set_num_threads(threads)
        total, shown = sum(map(len, segments)), sum(each.shown for each in segments)
        count, kept = min(max(MORE * k, LEAST) + total - shown, total), min(k, shown)
        scores, places = np.empty((len(queries), kept)), np.empty((len(queries), kept), np.int64)
        if not kept or not len(queries):
            return scores, places
        _, found = self._index.search(queries, count)
        short = (found < 0).any(axis=1)  # rows that it does not reach may be nearer than those that it finds
        if shown < total:
            hidden = np.concatenate(
                [np.zeros(len(each), np.bool_) if each.hidden is None else each.hidden for each in segments]
            )
            found = np.where(hidden[found], -1, found)
        for number in np.flatnonzero(~short).tolist():
            query, near = queries[number], np.unique(found[number])
            near = near[near >= 0]
            which = np.zeros(len(near), np.int64)
            score = exact_scores(segments, query[None].astype(np.float64), which, near)
            order = np.lexsort((near, -score))[:kept]
            scores[number], places[number] = score[order], near[order]
        if short.any():
            scores[short], places[short] = top_k(segments, queries[short], kept, threads=threads)
        return scores, places


def _reason(error: RuntimeError) -> str:
    """What faiss says, without the place in its own code."""
    return re.sub(r"^Error in .* at \S+:\d+: (?:Error: '.*' failed: )?", "", str(error).splitlines()[0])


def path_of(folder: Path, number: int) -> Path:
    """Of an index's file."""
    return folder / f"faiss-{number:06d}.index"


def _faiss() -> Any:
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it tells of each CPU's code that it tries
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError(
            f"a gallery with a faiss index needs faiss, which cannot be imported ({error}): "
            f"{installing('faiss')}; or build it with another --index"
        ) from error
    return faiss
