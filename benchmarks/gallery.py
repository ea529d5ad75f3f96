"""What searching an int8 gallery takes beside its product: `python benchmarks/gallery.py --output FILE.csv`.

A gallery of so many rows is made below `--folder`, 5.2 GB for ten million of 512 numbers: random directions,
a pool of them with columns moved and signs changed, so that making it takes little. Then by turns, on one
thread, in seconds of CPU time, for a batch of 64 random queries:

product    all products alone, of bytes with 8-bit queries, block by block from the mapped files, as the
           search multiplies them (onnxruntime's MatMulInteger), and by torch._int_mm: the quicker of the two
search     the five best rows of each query: exact for the rows as they are stored, scores in float64

ratio      search by product, of one turn. The answers of the first queries are compared with those of plain
float32 products of all rows, re-scored in float64.
"""

import argparse
import itertools
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import table
import torch

from partialfc.serving.card import Card
from partialfc.serving.gallery.gallery import Gallery
from partialfc.serving.gallery.manifest import MANIFEST, Manifest, write_manifest
from partialfc.serving.gallery.products import BLOCK, product_of
from partialfc.serving.gallery.segments import ZERO, Segment, SegmentWriter, Stored, as_stored
from partialfc.serving.gallery.top_k import exact_scores
from partialfc.serving.rows import Rows, unit_rows

POOL = 1 << 15  # rows that are drawn
TORCH_BLOCK = 2048  # rows, at which torch._int_mm is quickest here
COMPARED = 2  # queries


def directions(count: int, width: int, seed: int) -> Rows:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, width), np.float32))


def make(folder: Path, rows: int, width: int) -> Gallery:
    """An int8 gallery of random rows."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = as_stored(directions(POOL, width, 0), [("", "")] * POOL, "int8")
    writer = SegmentWriter(folder, 1, "int8", width)
    generator = np.random.default_rng(1)
    assert pool.scales is not None
    for start in range(0, rows, POOL):
        count = min(POOL, rows - start)
        moved = np.roll(pool.rows[:count], int(generator.integers(width)), axis=1)
        changed = generator.integers(2, size=width, dtype=np.uint8).astype(bool)
        moved[:, changed] = -moved[:, changed]  # of bytes 128 + x: 128 - x
        names = [(f"n{number}", "") for number in range(start, start + count)]
        writer.write(Stored(moved, pool.scales[:count], names))
    card = Card(name="random", image_size=112, channels=3, embedding_size=width)
    manifest = Manifest(card=card, model="", storage="int8", mean=False, parts=tuple(writer.finish()))
    write_manifest(folder, manifest)
    return Gallery(folder)


def by_onnxruntime(segments: list[Segment], queries: Rows) -> None:
    product = product_of(queries, "int8", 1)
    for segment in segments:
        for start in range(0, len(segment), BLOCK):
            product(segment, start, min(start + BLOCK, len(segment)))


def by_torch(segments: list[Segment], queries: Rows) -> None:
    rounded = torch.from_numpy(np.rint(queries * 500).clip(-127, 127).astype(np.int8)).T
    out = torch.empty(TORCH_BLOCK, len(queries), dtype=torch.int32)
    for segment in segments:
        with warnings.catch_warnings(action="ignore"):  # that they are mapped for reading alone
            rows = torch.from_numpy(np.asarray(segment.rows)).view(torch.int8)
        for start in range(0, len(segment), TORCH_BLOCK):
            block = rows[start : start + TORCH_BLOCK]
            torch._int_mm(block, rounded, out=out[: len(block)])


def plainly(segments: list[Segment], queries: Rows, k: int) -> list[list[int]]:
    """The places of the best rows, by float32 products of all: of a hundred candidates, in float64."""
    scores = np.concatenate(
        [
            (segment.rows[start : start + (1 << 15)].astype(np.float32) - ZERO)
            @ queries.T
            * segment.scales[start : start + (1 << 15), None]
            for segment in segments
            if segment.scales is not None
            for start in range(0, len(segment), 1 << 15)
        ]
    )
    best = []
    for query, column in zip(queries, scores.T, strict=True):
        near = np.sort(np.argpartition(column, -100)[-100:])
        exact = exact_scores(segments, query[None].astype(np.float64), np.zeros_like(near), near)
        best.append(near[np.lexsort((near, -exact))[:k]].tolist())
    return best


def timed(action: Callable[[], Any]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def measured(gallery: Gallery, arguments: argparse.Namespace) -> dict[str, Any]:
    segments, k = gallery._view.segments, arguments.k
    queries = directions(arguments.queries, gallery.width, 2)
    found: dict[str, list[float]] = {"onnxruntime": [], "torch": [], "search": []}
    for _ in range(arguments.rounds + 1):  # the first one reads the files
        found["onnxruntime"].append(timed(lambda: by_onnxruntime(segments, queries)))
        found["torch"].append(timed(lambda: by_torch(segments, queries)))
        found["search"].append(timed(lambda: gallery.search_places(queries, k)))
        print(" ".join(f"{name}={seconds[-1]:.3f}" for name, seconds in found.items()), flush=True)
    taken = {name: seconds[1:] for name, seconds in found.items()}
    product = [min(pair) for pair in zip(taken["onnxruntime"], taken["torch"], strict=True)]
    ratios = [search / least for search, least in zip(taken["search"], product, strict=True)]
    _, places = gallery.search_places(queries[:COMPARED], k)
    return {
        "rows": len(gallery),
        "width": gallery.width,
        "queries": arguments.queries,
        "k": k,
        **{f"{name}_cpu_s": round(statistics.median(seconds), 3) for name, seconds in taken.items()},
        "ratio": round(statistics.median(ratios), 3),
        "largest_ratio": round(max(ratios), 3),
        "equal": places.tolist() == plainly(segments, queries[:COMPARED], k),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--width", type=int, nargs="+", default=[512])
    parser.add_argument("--queries", type=int, default=64)
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="For the gallery; default: the system's for such.")
    parser.add_argument("--kept", type=Path, help="A folder for galleries that stay for the next time.")
    parser.add_argument("--output", type=Path, help="CSV file; without it the rows go to the screen only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for count, width in itertools.product(arguments.rows, arguments.width):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            kept = arguments.kept / f"{count}x{width}" if arguments.kept else Path(folder)
            there = (kept / MANIFEST).exists()
            rows.append(measured(Gallery(kept) if there else make(kept, count, width), arguments))
        print(" ".join(f"{name}={value}" for name, value in rows[-1].items()), flush=True)
    if arguments.output:
        table.write(arguments.output, [{**row, **table.surroundings()} for row in rows])


if __name__ == "__main__":
    main()
