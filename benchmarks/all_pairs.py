"""What an exact TAR at FAR over all pairs costs beside the products that it cannot do without.

    OMP_NUM_THREADS=1 python benchmarks/all_pairs.py --output benchmarks/all_pairs.csv

Unit embeddings [N, 512] of a gallery, 20 images a class, and queries of the same classes: TAR at FAR 1e-6,
1e-5 and 1e-4. In turns with the same products in the same blocks and nothing else. Seconds are CPU time of
one thread, so that what else the machine does counts for little; memory is what the peak of a process of its
own grows by beyond the embeddings.

With fewer queries than N (--queries) the rates are so much higher that as many scores are kept as with N
queries. Then memory is the same, and what is beside the products a larger part than with N.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import table
import torch

from partialfc.distributed import World
from partialfc.evaluation.scores.all_pairs import all_pairs
from partialfc.evaluation.scores.spread import SIDE, Spread, scores_of

FARS = (1e-6, 1e-5, 1e-4)


def embeddings(count: int, size: int, *, per_class: int, seed: int) -> Spread:
    """Around one direction for each class, so that genuine scores lie about 0.26."""
    classes = np.arange(count) // per_class
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(int(classes[-1]) + 1, size, generator=generator)
    generator.manual_seed(seed)
    rows = torch.randn(count, size, generator=generator)
    for part in range(0, count, 1 << 14):  # in parts, for the memory
        chosen = torch.from_numpy(classes[part : part + (1 << 14)])
        rows[part : part + (1 << 14)] += 0.6 * centres[chosen]
    return Spread.of(rows, classes, World.of())


def products(queries: Spread, gallery: Spread) -> None:
    """All scores in the same blocks, and nothing else."""
    room = queries.room(gallery)
    for rows in queries.blocks(SIDE):
        for columns in gallery.own_blocks(SIDE):
            scores_of(rows, columns, room)


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure_memory(
    counts: tuple[int, int], size: int, per_class: int, fars: tuple[float, ...], told: Connection
) -> None:
    """In a process of its own: its peak before and after, in GiB, and what was found."""
    torch.set_num_threads(1)
    queries = embeddings(counts[0], size, per_class=per_class, seed=1)
    gallery = embeddings(counts[1], size, per_class=per_class, seed=2)
    few = [each.only(np.arange(len(each)) < SIDE) for each in (queries, gallery)]
    products(few[0], few[1])  # what the library takes for itself
    before = peak_gib()
    found = all_pairs(queries, gallery, fars=fars)
    told.send((before, peak_gib(), found))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--embeddings", type=int, default=100_000, help="N, of the gallery")
    parser.add_argument("--queries", type=int, help="as many as the gallery has, where it is not given")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--output", type=Path, help="CSV file; without it the row goes to the screen only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts = options.queries or options.embeddings, options.embeddings
    fars = tuple(far * counts[1] / counts[0] for far in FARS)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    of_memory = (counts, options.size, options.per_class, fars, theirs)
    process = context.Process(target=measure_memory, args=of_memory)
    process.start()
    before, after, found = ours.recv()
    process.join()

    queries = embeddings(counts[0], options.size, per_class=options.per_class, seed=1)
    gallery = embeddings(counts[1], options.size, per_class=options.per_class, seed=2)
    turns = [
        (
            seconds(lambda: products(queries, gallery)),
            seconds(lambda: all_pairs(queries, gallery, fars=fars)),
        )
        for _ in range(options.turns)
    ]
    bare, exact = np.median(turns, axis=0).tolist()
    row = {
        "queries": counts[0],
        "embeddings": counts[1],
        "size": options.size,
        "genuine": found.genuine,
        "impostors": found.impostors,
        "products_s": table.rounded(bare),
        "exact_tar_s": table.rounded(exact),
        "ratio": round(exact / bare, 3),
        "memory_beyond_gib": round(after - before, 3),
        **{f"tar@far={far:.0e}": found.tar[far] for far in fars},
    }
    for name, value in row.items():
        print(f"{name:20}{value}")
    if options.output:
        table.write(options.output, [row | table.surroundings()])


if __name__ == "__main__":
    main()
