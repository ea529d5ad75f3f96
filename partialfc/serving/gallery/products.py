"""The products of blocks of stored rows with queries: fast ones, and how far off they may be."""

import functools
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from partialfc.serving.gallery.segments import LARGEST, ZERO, StoredRows
from partialfc.serving.gallery.tiny_graph import product_graph
from partialfc.serving.rows import Rows
from partialfc.serving.runtime import session

BLOCK = 4096  # rows, whose products with 64 queries stay in a core's cache


class Product(Protocol):
    """Products of rows with queries [Q, D]: their score is (product + offset [Q]) * scale [Q] * row's scale.

    error [Q]: how far such a score may be from the exact one, for a stored row of norm 1.
    """

    offset: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]

    def __call__(self, segment: StoredRows, start: int, stop: int) -> npt.NDArray[Any]:
        """Of rows start..stop, at most BLOCK -> [stop - start, Q], until the next call."""
        ...


class FloatProduct:
    """In float32, by NumPy's BLAS; int8 rows become floats first."""

    def __init__(self, queries: Rows) -> None:
        count, width = queries.shape
        self.offset, self.scale = np.zeros(count), np.ones(count)
        self.error = np.linalg.norm(queries.astype(np.float64), axis=1) * _rounding(width)
        self._queries = np.ascontiguousarray(queries.T)
        self._products = np.empty((BLOCK, count), np.float32)
        self._rows = np.empty((BLOCK, width), np.float32)

    def __call__(self, segment: StoredRows, start: int, stop: int) -> npt.NDArray[Any]:
        rows = segment.rows[start:stop]
        if rows.dtype != np.float32:
            floats = self._rows[: len(rows)]
            np.copyto(floats, rows)
            if segment.scales is not None:
                floats -= ZERO
            rows = floats
        return np.matmul(rows, self._queries, out=self._products[: len(rows)])


class Int8Product:
    """Of int8 rows with queries that are rounded to 8 bits, by onnxruntime: exact whole numbers."""

    def __init__(self, queries: Rows, int8_session: Any) -> None:
        count, width = queries.shape
        exact = queries.astype(np.float64)
        self.scale = np.maximum(np.abs(exact).max(axis=1, initial=0.0), np.finfo(np.float32).tiny) / LARGEST
        rounded = np.rint(exact / self.scale[:, None])
        self.offset = -ZERO * rounded.sum(axis=1)
        lost = np.linalg.norm(exact - rounded * self.scale[:, None], axis=1)
        self.error = lost + np.linalg.norm(exact, axis=1) * _rounding(width)
        self._queries = np.ascontiguousarray(rounded.astype(np.int8).T)
        self._products = np.empty((BLOCK, count), np.int32)
        self._session, self._binding = int8_session, int8_session.io_binding()
        self._binding.bind_input("queries", "cpu", 0, np.int8, self._queries.shape, self._queries.ctypes.data)

    def __call__(self, segment: StoredRows, start: int, stop: int) -> npt.NDArray[Any]:
        rows, products = segment.rows[start:stop], self._products[: stop - start]
        self._binding.bind_input("rows", "cpu", 0, np.uint8, rows.shape, rows.ctypes.data)
        self._binding.bind_output("products", "cpu", 0, np.int32, products.shape, products.ctypes.data)
        self._session.run_with_iobinding(self._binding)
        return products


def product_of(queries: Rows, storage: str, threads: int) -> Product:
    """The fastest one: whole numbers where onnxruntime is there and multiplies them exactly, else floats."""
    found = _int8_session(threads) if storage == "int8" else None
    return FloatProduct(queries) if found is None else Int8Product(queries, found)


@functools.cache
def _int8_session(threads: int) -> Any | None:
    """None without onnxruntime, or where the CPU's instructions cut sums off at 16 bits, as older ones do."""
    try:
        found = session(product_graph(), threads=threads)
    except ImportError:
        return None
    rows = np.full((3, 64), 255, np.uint8)
    queries = np.full((64, 3), LARGEST, np.int8)
    queries[:, 1] = -LARGEST
    products = found.run(None, {"rows": rows, "queries": queries})[0]
    exact = rows.astype(np.int64) @ queries.astype(np.int64)
    return found if np.array_equal(products, exact) else None


def _rounding(width: int) -> float:
    """Of a product in float32 of rows of norm 1, by the bound for a sum of so many terms."""
    return float(2 * (width + 8) * np.finfo(np.float32).eps)
