"""Which library, and which loader, reads images fastest: `python benchmarks/decode.py --output FILE.csv`.

The fixture's 128 glyphs. Libraries decode or move them in one process on one thread. The loaders run without
workers, DALI's on the CPU; each has its own process and makes whole batches. All take turns within each
round, and the clock is CPU time, so that the machine's other load slows all of them alike; a row gives
images per CPU second at the 20th, 50th and 80th percentile of the rounds. What is not installed is skipped,
and named.
"""

import argparse
import csv
import importlib
import io
import multiprocessing
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from table import machine

from partialfc.data.images.augmentation import Augment, augment
from partialfc.data.images.codec import decode, encode_png, resize
from partialfc.data.loading.dali import build_dali_loader
from partialfc.data.loading.loader import Loader
from partialfc.data.loading.plain import build_loader
from partialfc.data.sources.insightface import RecordSource
from partialfc.errors import MissingExtraError

FIXTURE = Path(__file__).parents[1] / "tests" / "fixtures" / "mxnet_rec" / "train.rec"
ROUNDS = 60
AFFINE = Augment(flip=True, shift=0.1, scale=0.1, rotate=10)

LOADER_CASES = {"loader 112x112x3": Augment(), "loader, affine 112x112x3": AFFINE}
LOADERS = ("partialfc", "nvidia-dali-cuda120")
LOADER_ROUNDS = 20
BATCH, TURN = 64, 8  # images in a batch, batches in a turn

Operation = Callable[[Any], Any]


def partialfc() -> dict[str, Operation]:
    rng = np.random.default_rng(0)
    return {
        "jpeg 112x112x3": decode,
        "png 112x112x3": decode,
        "png 32x32x1": lambda data: decode(data, channels=1),
        "affine 32x32x1": lambda pixels: augment(pixels, rng, AFFINE),
        "affine 112x112x3": lambda pixels: augment(pixels, rng, AFFINE),
    }


def pillow() -> dict[str, Operation]:
    image = importlib.import_module("PIL.Image")

    def read(data: bytes) -> np.ndarray:
        return np.asarray(image.open(io.BytesIO(data)))

    def affine(pixels: np.ndarray) -> np.ndarray:
        source = image.fromarray(pixels.squeeze())
        matrix = (0.9, 0.1, 1.0, -0.1, 0.9, 1.0)
        return np.asarray(
            source.transform(source.size, image.Transform.AFFINE, matrix, image.Resampling.BILINEAR)
        )

    return {
        "jpeg 112x112x3": read,
        "png 112x112x3": read,
        "png 32x32x1": read,
        "affine 32x32x1": affine,
        "affine 112x112x3": affine,
    }


def opencv() -> dict[str, Operation]:
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    matrix = np.array([[0.9, 0.1, 1.0], [-0.1, 0.9, 1.0]])

    def read(flag: int) -> Operation:
        return lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), flag)

    def affine(pixels: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(pixels, matrix, pixels.shape[1::-1], flags=cv2.INTER_LINEAR)

    return {
        "jpeg 112x112x3": read(cv2.IMREAD_COLOR_RGB),
        "png 112x112x3": read(cv2.IMREAD_COLOR_RGB),
        "png 32x32x1": read(cv2.IMREAD_GRAYSCALE),
        "affine 32x32x1": affine,
        "affine 112x112x3": affine,
    }


def simplejpeg() -> dict[str, Operation]:
    return {"jpeg 112x112x3": importlib.import_module("simplejpeg").decode_jpeg}


def pyturbojpeg() -> dict[str, Operation]:
    module = importlib.import_module("turbojpeg")
    turbo = module.TurboJPEG()  # RuntimeError where the system has no libturbojpeg
    return {"jpeg 112x112x3": lambda data: turbo.decode(data, pixel_format=module.TJPF_RGB)}


LIBRARIES: dict[str, Callable[[], dict[str, Operation]]] = {
    "partialfc": partialfc,
    "pillow": pillow,
    "opencv-python-headless": opencv,
    "simplejpeg": simplejpeg,
    "PyTurboJPEG": pyturbojpeg,
}


def inputs() -> dict[str, list[Any]]:
    source = RecordSource(FIXTURE)
    jpeg = [source.read(index)[0] for index in range(len(source))]
    colour = [decode(data) for data in jpeg]
    grey = [resize(decode(data, channels=1), 32) for data in jpeg]
    return {
        "jpeg 112x112x3": jpeg,
        "png 112x112x3": [encode_png(pixels) for pixels in colour],
        "png 32x32x1": [encode_png(pixels) for pixels in grey],
        "affine 32x32x1": grey,
        "affine 112x112x3": colour,
    }


def open_loader(library: str, case: str) -> Loader:
    source = RecordSource(FIXTURE)
    options: dict[str, Any] = {"global_batch": BATCH, "seed": 0, "image_size": 112, "channels": 3}
    options["augment"] = LOADER_CASES[case]
    if library == "partialfc":
        return build_loader(source, **options)
    return build_dali_loader(source, device=torch.device("cpu"), **options)


def serve(connection: Connection, library: str, case: str) -> None:
    """A loader's process: for each request its CPU seconds so far, and then, unless it was None, a turn."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with open_loader(library, case) as loader:
        for _ in range(TURN):
            next(loader)
        while True:
            request = connection.recv()
            connection.send(time.process_time())
            if request is None:
                return
            for _ in range(TURN):
                next(loader)
            connection.send(None)


@contextmanager
def loader_process(library: str, case: str) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, library, case))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join()


def measure_loaders(case: str) -> dict[str, list[float]]:
    """Images per CPU second of every round, by library.

    From the start of one turn to that of the next: DALI decodes a batch ahead, beyond the end of its turn.
    """
    clocks: dict[str, list[float]] = {}
    with ExitStack() as stack:
        processes = {}
        for library in LOADERS:
            try:
                open_loader(library, case).close()
            except MissingExtraError as error:
                print(f"{library}: skipped: {error}", file=sys.stderr)
                continue
            processes[library] = stack.enter_context(loader_process(library, case))
            clocks[library] = []
        for _ in range(LOADER_ROUNDS):
            for library, process in processes.items():
                process.send(TURN)
                clocks[library].append(process.recv())
                process.recv()
        for library, process in processes.items():
            process.send(None)
            clocks[library].append(process.recv())
    return {library: (TURN * BATCH / np.diff(clock)).tolist() for library, clock in clocks.items()}


def measure() -> list[dict[str, Any]]:
    return measure_libraries() + [
        row(case, library, rates) for case in LOADER_CASES for library, rates in measure_loaders(case).items()
    ]


def measure_libraries() -> list[dict[str, Any]]:
    data = inputs()
    subjects: list[tuple[str, str, Operation, list[float]]] = []
    for library, load in LIBRARIES.items():
        try:
            works = load()
        except (ImportError, RuntimeError) as error:
            print(f"{library}: skipped: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        subjects += [(case, library, work, []) for case, work in works.items()]
    for _ in range(ROUNDS):
        for case, _, work, rates in subjects:
            start = time.thread_time()
            for item in data[case]:
                work(item)
            rates.append(len(data[case]) / (time.thread_time() - start))
    return [
        row(case, library, rates)
        for case, library, _, rates in sorted(subjects, key=lambda subject: subject[:2])
    ]


def row(case: str, library: str, rates: list[float]) -> dict[str, Any]:
    p20, p50, p80 = (round(rate) for rate in np.percentile(rates, [20, 50, 80]))
    return {
        "case": case,
        "library": library,
        "version": version(library),
        "p20_images_per_cpu_s": p20,
        "p50_images_per_cpu_s": p50,
        "p80_images_per_cpu_s": p80,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="CSV file; without it the rows go to the screen only")
    arguments = parser.parse_args()
    rows = measure()
    for each in rows:
        print(f"{each['case']:26} {each['library']:24} {each['p50_images_per_cpu_s']:>8} images/CPU s")
    if arguments.output:
        with arguments.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
