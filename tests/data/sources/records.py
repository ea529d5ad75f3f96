"""Small `.rec` files, and what is read from them."""

from pathlib import Path

from partialfc.data.sources.insightface import RecordSource, write_source
from partialfc.data.sources.recordio import Header, RecordWriter, pack

DELETE = r"delete it to have the \.rec scanned instead"

Lines = list[tuple[int, int]]  # (key, offset)


def write_records(path: Path, records: dict[int, bytes]) -> Path:
    with RecordWriter(path) as writer:
        for key, payload in records.items():
            writer.write(key, payload)
    return path


def plain(path: Path, *labels: float) -> Path:
    """An im2rec file: images only, keys from 0."""
    return write_records(
        path, {key: pack(Header(0, (label,), key), b"image") for key, label in enumerate(labels)}
    )


def image(number: int) -> bytes:
    return b"image %d" % number + bytes(number % 7)


def write(path: Path, images: int) -> Path:
    write_source(path, ((image(n), 5 * n // images) for n in range(images)), num_classes=5, image_size=(8, 8))
    return path


def lines_of(path: Path) -> list[bytes]:
    return path.with_suffix(".idx").read_bytes().splitlines(keepends=True)


def write_index(path: Path, lines: Lines) -> None:
    path.with_suffix(".idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in lines))


def images_of(path: Path) -> list[tuple[bytes, int]]:
    """Every image and its class id."""
    source = RecordSource(path)
    return [source.read(at) for at in range(len(source))]
