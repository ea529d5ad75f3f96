"""The data of benchmarks/init.py: glyphs in few faces, Han characters of system fonts, four makers' emoji.

Each function returns what is given to `partialfc init`: a .rec, or a folder of class folders.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from partialfc.data.glyphs.build import Painter
from partialfc.data.glyphs.fonts import Face, load_faces
from partialfc.data.images.codec import encode_png
from partialfc.data.images.opencv import cv2
from partialfc.data.sources.insightface import RecordSource, write_source

SEED = 0  # the same characters, faces and images in every run
SIDE = 32
HAN = range(0x4E00, 0x9FA6)
FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansCJK-Bold.ttc", "NotoSerifCJK-Regular.ttc", "NotoSerifCJK-Bold.ttc",
    "ukai.ttc", "uming.ttc", "wqy-zenhei.ttc", "BabelStoneHan.ttf", "DroidSansFallbackFull.ttf",
    "HanaMinA.ttf", "ipamjm.ttf", "LXGWWenKai-Light.ttf", "LXGWWenKai-Regular.ttf", "LXGWWenKai-Bold.ttf",
)  # fmt: skip
MAKERS = ("apple", "facebook", "google", "twitter")


def few_faces(glyphs: Path, folder: Path, *, images: int) -> Path:
    """The glyphs with so many images of each character, drawn once; a .rec, with the same pairs beside it."""
    source = RecordSource(glyphs / "train.rec")
    generator = np.random.default_rng(SEED)
    ids = source.class_ids()

    def samples() -> Iterator[tuple[bytes, int]]:
        for label in range(source.num_classes):
            for index in np.sort(generator.permutation(np.flatnonzero(ids == label))[:images]).tolist():
                yield source.read(index)

    folder.mkdir(parents=True)
    write_source(folder / "train.rec", samples(), num_classes=source.num_classes, image_size=(SIDE, SIDE))
    (folder / "pairs.bin").write_bytes((glyphs / "pairs.bin").read_bytes())
    return folder / "train.rec"


def han(fonts: Path, folder: Path, *, characters: int, images: int) -> Path:
    """Common Han characters, each as up to so many faces draw it; a folder for each character."""
    faces = [face for name in FONTS for path in sorted(fonts.rglob(name)) for face in load_faces(path)]
    drawn = [face for face in faces if len(face.glyphs.keys() & set(HAN)) > len(HAN) // 2]
    codes = sorted(set(HAN).intersection(*(face.glyphs for face in drawn)))
    chosen = np.sort(np.random.default_rng(SEED).permutation(codes)[:characters]).tolist()
    painter = Painter(drawn, size=SIDE, channels=1, jitter=0.0, seed=SEED)
    for code in chosen:
        _write(folder / f"{code:04X}", list(_pictures(painter, drawn, code))[:images])
    return folder


def _pictures(painter: Painter, faces: Sequence[Face], code: int) -> Iterator[bytes]:
    """Different pictures of a character: a collection's faces share many."""
    seen = set[bytes]()
    for index in np.random.default_rng((SEED, code)).permutation(len(faces)).tolist():
        picture = painter.image(code, index)
        if picture not in seen:
            seen.add(picture)
            yield picture


def emoji(packages: Path, folder: Path) -> Path:
    """Emoji without skin tones that all makers draw, on white; a folder for each emoji.

    packages: where emoji-datasource-apple and the like were unpacked, with img/MAKER/64/*.png.
    """
    folders = [packages / "img" / maker / "64" for maker in MAKERS]
    names = sorted(set.intersection(*({path.name for path in each.glob("*.png")} for each in folders)))
    tones = ("1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff")
    for name in (name for name in names if not any(tone in name for tone in tones)):
        _write(folder / Path(name).stem, [_on_white(each / name) for each in folders])
    return folder


def _on_white(path: Path) -> bytes:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return path.read_bytes()
    opacity = pixels[:, :, 3:].astype(np.float64) / 255
    mixed = pixels[:, :, 2::-1] * opacity + 255 * (1 - opacity)  # OpenCV reads BGRA
    return encode_png(mixed.round().astype(np.uint8))


def _write(folder: Path, images: Sequence[bytes]) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        (folder / f"{number}.png").write_bytes(image)
