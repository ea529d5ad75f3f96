"""How fast the plain loader reads, beside arcface_torch's: `python benchmarks/loader.py --peer PYTHON ...`.

Both read the same 112 x 112 JPEG `.rec` in random order, decode, mirror every other image, and make batches
of normalised float32: the whole way to what a backbone is given. `MXFaceDataset` has ToPILImage,
RandomHorizontalFlip, ToTensor and Normalize for that, and torch's DataLoader makes the batches; here it is
the loader, and `normalise`, which training calls. One process each, without workers, on one thread, in
turns; the clock is CPU time. A row gives images per CPU second at the 20th, 50th and 80th percentile of the
turns.

`--peer`: a Python that has mxnet 1.9.1, numpy 1.23.5, torch and torchvision. `--arcface-torch`:
InsightFace's folder recognition/arcface_torch. Without them ours is measured alone. `--photos` takes crops
of scikit-learn's two photos in place of the fixture's glyphs, whose JPEGs are simple.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import table
import torch

from partialfc.data.images.augmentation import Augment
from partialfc.data.images.codec import encode_jpeg
from partialfc.data.images.normalise import normalise
from partialfc.data.loading.plain import build_loader
from partialfc.data.sources.insightface import RecordSource, write_source

FIXTURE = Path(__file__).parents[1] / "tests" / "fixtures" / "mxnet_rec" / "train.rec"
BATCH = 64
TURN = 8  # batches
CROPS = 512
PEER = Path(__file__).with_name("loader_peer.py")


def serve(path: Path) -> None:
    """For each line on stdin a turn, and the CPU seconds that it took on stdout; as loader_peer.py does."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with build_loader(
        RecordSource(path), global_batch=BATCH, seed=0, image_size=112, channels=3, augment=Augment(flip=True)
    ) as loader:
        for _ in sys.stdin:
            started = time.process_time()
            for _ in range(TURN):
                images, _ = next(loader)
                batch = normalise(images)
            print(time.process_time() - started, flush=True)
            assert batch.shape == (BATCH, 3, 112, 112)
            assert batch.dtype == torch.float32


def write_photos(folder: Path) -> Path:
    """Crops of scikit-learn's two photos, at random places and scales, as JPEGs of quality 95."""
    from sklearn.datasets import load_sample_images

    rng, photos = np.random.default_rng(0), load_sample_images().images

    def crop() -> np.ndarray:
        photo = photos[rng.integers(len(photos))]
        side = rng.integers(112, min(photo.shape[:2]) + 1)
        top, left = (rng.integers(length - side + 1) for length in photo.shape[:2])
        part = photo[top : top + side, left : left + side]
        return cv2.resize(part, (112, 112), interpolation=cv2.INTER_AREA)

    images = ((encode_jpeg(crop(), quality=95), number // 8) for number in range(CROPS))
    write_source(folder / "train.rec", images, num_classes=None, image_size=(112, 112))
    return folder / "train.rec"


@contextmanager
def subject(command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, **pipes
    ) as process:
        yield process
        process.stdin.close()


def turn(process: subprocess.Popen[str]) -> float:
    """CPU seconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def measure(path: Path, case: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with (
        subject([sys.executable, __file__, "--serve", str(path)]) as ours,
        subject(
            [
                arguments.peer,
                str(PEER),
                str(arguments.arcface_torch),
                str(path.parent),
                str(BATCH),
                str(TURN),
            ],
            PYTHONPATH="",
            MXNET_CPU_WORKER_NTHREADS="1",
        )
        if arguments.peer
        else subject(["true"]) as theirs,
    ):
        subjects = {"partialfc": ours} | ({"arcface_torch MXFaceDataset": theirs} if arguments.peer else {})
        rates: dict[str, list[float]] = {name: [] for name in subjects}
        for _ in range(arguments.rounds + 1):
            for name, process in subjects.items():
                rates[name].append(TURN * BATCH / turn(process))
    for name, found in rates.items():
        p20, p50, p80 = (round(rate) for rate in np.percentile(found[1:], [20, 50, 80]))  # the first warms up
        yield {
            "case": case,
            "loader": name,
            "p20_images_per_cpu_s": p20,
            "p50_images_per_cpu_s": p50,
            "p80_images_per_cpu_s": p80,
            "times_the_peers": round(np.median(rates["partialfc"][1:]) / np.median(found[1:]), 2),
            "jpeg_bytes": round(path.stat().st_size / len(RecordSource(path))),
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", help="Python with mxnet")
    parser.add_argument("--arcface-torch", type=Path, help="folder of arcface_torch's source")
    parser.add_argument("--photos", action="store_true", help="measure on crops of photos too")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path, help="CSV file; without it the rows go to the screen only")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    rows = list(measure(FIXTURE, "glyphs", arguments))
    if arguments.photos:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(write_photos(Path(folder)), "photos", arguments)
    for row in rows:
        print(f"{row['case']:8} {row['loader']:28} {row['p50_images_per_cpu_s']:>7} images per CPU second")
    if arguments.output:
        table.write(arguments.output, [{**row, **table.surroundings()} for row in rows])


if __name__ == "__main__":
    main()
