"""How fast a source is checked and packed: `python benchmarks/check.py --glyphs data/glyphs/train.rec`.

On the glyphs (32 x 32, PNG) and on JPEGs of 112 x 112 that are made here, `partialfc data check` and
`data pack` run with 1 process and with 2. They take turns, so that the machine's other load slows all alike.
A row gives the images a second of the median round: by the clock, and by the CPU time of the process that was
started. With 2 processes the latter only collects or writes what they send, so that its figure is what more
processes could reach at most. `decode` is what decoding alone takes. Starting the processes is part of the
time, as for a user.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import table

from partialfc.data.check.check import check_source
from partialfc.data.images.codec import decode, encode_jpeg
from partialfc.data.sources.insightface import RecordSource, write_source
from partialfc.data.sources.pack import pack_source

SIZE = 112
Work = Callable[[], object]


def write_pictures(path: Path, count: int) -> Path:
    """A .rec of smooth pictures with a grain, 10 a class."""

    def picture(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:SIZE, :SIZE] / SIZE
        wave = 2 * np.pi * (rng.uniform(-5, 5, 6) * y[..., None] + rng.uniform(-5, 5, 6) * x[..., None])
        shades = 128 + 25 * np.sin(wave[..., None] + rng.uniform(0, 6, (6, 3))).sum(axis=2)
        return encode_jpeg((shades + rng.normal(0, 6, (SIZE, SIZE, 1))).clip(0, 255).astype(np.uint8))

    samples = ((picture(seed), seed // 10) for seed in range(count))
    write_source(path, samples, num_classes=None, image_size=(SIZE, SIZE))
    return path


def decode_all(source: RecordSource) -> None:
    for index in range(len(source)):
        decode(source.read(index)[0])


def works(path: Path, out: Path, processes: list[int]) -> dict[tuple[str, int], Work]:
    source = RecordSource(path)
    return {
        ("decode", 1): lambda: decode_all(source),
        **{("check", n): lambda n=n: check_source(source, workers=n) for n in processes},
        **{("pack", n): lambda n=n: pack_source(path, out, overwrite=True, workers=n) for n in processes},
    }


def measure(name: str, path: Path, out: Path, *, rounds: int, processes: list[int]) -> list[table.Row]:
    images = len(RecordSource(path))
    clocks: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for case, work in works(path, out, processes).items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            took = time.perf_counter() - wall, time.process_time() - cpu
            clocks.setdefault(case, []).append(took)
    rows = []
    for (what, number), times in clocks.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        row = {"images": name, "count": images, "work": what, "processes": number}
        rows.append(row | {"images_per_s": round(images / wall), "images_per_cpu_s": round(images / cpu)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--glyphs", type=Path, required=True, help="train.rec of `partialfc data glyphs`")
    parser.add_argument("--count", type=int, default=20_000, help="JPEGs that are made")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path, help="CSV file; without it the rows go to the screen only")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rows: list[table.Row] = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures" / "train.rec"
        pictures.parent.mkdir()
        sources = {"glyphs 32x32 PNG": options.glyphs}
        sources[f"{SIZE}x{SIZE} JPEG"] = write_pictures(pictures, options.count)
        for name, path in sources.items():
            rows += measure(
                name, path, Path(folder) / "out", rounds=options.rounds, processes=options.processes
            )
    load = round(os.getloadavg()[0], 1)
    for row in rows:
        print(" ".join(f"{value!s:>18}" for value in row.values()))
    if options.output:
        table.write(options.output, [row | {"load": load} | table.surroundings() for row in rows])


if __name__ == "__main__":
    main()
