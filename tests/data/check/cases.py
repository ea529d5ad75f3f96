"""Image folders with one thing wrong of every kind."""

import struct
import zlib
from pathlib import Path

import numpy as np

from partialfc.data.images.codec import Pixels, encode_jpeg, encode_png

WRONG = {  # by key, the kinds that it is found for
    "cat/blank.png": {"blank"},
    "cat/broken.jpg": {"broken"},
    "cat/empty.png": {"broken"},
    "cat/small.png": {"size"},
    "cat/twice.png": {"duplicate"},
    "cat/twice2.png": {"duplicate"},
    "cat/twice3.png": {"duplicate"},  # saved in another way
    "cat/near.png": {"near-duplicate"},
    "cat/near2.jpg": {"near-duplicate"},
    "cat/both.png": {"conflict"},
    "dog/both.png": {"conflict"},
    "cat/alike.png": {"near-conflict"},
    "dog/alike.jpg": {"near-conflict"},
}
SOUND = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.jpg")
BAD = {  # the keys to leave out: of equal images of a class the first is kept
    "cat/blank.png",
    "cat/broken.jpg",
    "cat/empty.png",
    "cat/small.png",
    "cat/twice2.png",
    "cat/twice3.png",
    "cat/both.png",
    "dog/both.png",
}


def picture(seed: int, *, size: int = 48) -> Pixels:
    """A smooth picture of random waves."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    down, across, turn = rng.uniform(-5, 5, 9), rng.uniform(-5, 5, 9), rng.uniform(0, 6, (9, 3))
    wave = 2 * np.pi * (down * y[..., None] + across * x[..., None])
    shades = 128 + 18 * np.sin(wave[..., None] + turn).sum(axis=2)
    return shades.clip(0, 255).astype(np.uint8)


def wrong_folder(folder: Path) -> Path:
    """Two classes with what is in SOUND and in WRONG."""
    images = {
        **{key: picture(number) for number, key in enumerate(SOUND)},
        "cat/blank.png": np.full((48, 48, 3), 200, np.uint8),
        "cat/broken.jpg": picture(90),
        "cat/empty.png": picture(91),
        "cat/small.png": picture(92, size=7),
        **dict.fromkeys(("cat/twice.png", "cat/twice2.png", "cat/twice3.png"), picture(93)),
        **dict.fromkeys(("cat/near.png", "cat/near2.jpg"), picture(94)),
        **dict.fromkeys(("cat/both.png", "dog/both.png"), picture(95)),
        **dict.fromkeys(("cat/alike.png", "dog/alike.jpg"), picture(96)),
    }
    for key, pixels in images.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(encode_jpeg(pixels) if key.endswith(".jpg") else encode_png(pixels))
    saved = bytearray((folder / "cat/twice3.png").read_bytes())
    comment = b"tEXtComment\0again"
    saved[-12:-12] = struct.pack(">I", len(comment) - 4) + comment + struct.pack(">I", zlib.crc32(comment))
    (folder / "cat/twice3.png").write_bytes(saved)
    (folder / "cat/broken.jpg").write_bytes((folder / "cat/broken.jpg").read_bytes()[:-200])
    (folder / "cat/empty.png").write_bytes(b"")
    return folder
