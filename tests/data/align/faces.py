"""Photos with drawn faces: five dots on grey."""

from pathlib import Path

import numpy as np

from partialfc.data.align.template import template
from partialfc.data.images.codec import encode_png

FACE = template(112, 112)  # landmarks [5, 2]
COLOURS = [(250, 30, 30), (30, 250, 30), (30, 30, 250), (250, 250, 30), (250, 30, 250)]


def landmarks(*, scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    """The template's, turned by degrees about (56, 56), enlarged and moved: [5, 2]."""
    turn = scale * np.exp(1j * np.deg2rad(angle))
    points = (FACE - 56) @ [1, 1j] * turn + complex(*shift)
    return np.stack([points.real, points.imag], axis=1)


def draw(*faces: np.ndarray, size: tuple[int, int] = (200, 160), radius: float = 4) -> np.ndarray:
    """uint8 [height, width, 3]: a dot of its own colour at each landmark; size: (width, height)."""
    photo = np.full((size[1], size[0], 3), 120, np.uint8)
    reach = int(radius) + 2
    for face in faces:
        for (x, y), colour in zip(face, COLOURS, strict=True):
            left, top = max(int(x) - reach, 0), max(int(y) - reach, 0)
            part = photo[top : int(y) + reach + 1, left : int(x) + reach + 1]
            rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
            within = np.clip(radius + 0.5 - np.hypot(columns + left - x, rows + top - y), 0, 1)[:, :, None]
            part[:] = (part + within * (np.array(colour) - part)).round()
    return photo


def dots(pixels: np.ndarray) -> np.ndarray:
    """The middle [5, 2] of the pixels that are nearest to each of the five colours."""
    found = []
    for colour in COLOURS:
        far = np.abs(pixels.astype(np.int16) - colour).sum(axis=2)
        rows, columns = np.nonzero(far < 130)
        found.append([columns.mean(), rows.mean()])
    return np.array(found)


def write_photos(folder: Path) -> None:
    """`photos`, one face each in folders of persons, and `points.csv`."""
    faces = {
        f"{name}/{n}.png": landmarks(scale=0.7, angle=20 * n, shift=(95, 80)) for name in "ab" for n in (1, 2)
    }
    for name, face in faces.items():
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / name).write_bytes(encode_png(draw(face)))
    write_landmarks(folder / "points.csv", {name: [face] for name, face in faces.items()})


def write_landmarks(path: Path, faces: dict[str, list[np.ndarray]]) -> Path:
    """A CSV file that lists them."""
    lines = ["photo," + ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy")]
    for photo, found in faces.items():
        lines += [f"{photo},{','.join(map(str, face.ravel().tolist()))}" for face in found] or [
            f"{photo}{',' * 10}"
        ]
    path.write_text("\n".join(lines) + "\n")
    return path
