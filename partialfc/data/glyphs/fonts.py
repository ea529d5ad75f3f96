"""Font faces: where they are, which characters they draw, and the ink of one character."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partialfc.data.images.opencv import cv2
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.errors import DataError, MissingExtraError, installing

try:
    import matplotlib
    from fontTools import agl
    from fontTools.ttLib import TTFont
    from matplotlib.ft2font import FT2Font, LoadFlags
except ImportError as error:
    raise MissingExtraError(
        "glyphs are drawn with matplotlib and fonttools, of which one is not installed: "
        f"{installing('glyphs')}"
    ) from error

SUFFIXES = (".ttf", ".otf", ".ttc")
OUTLINE_TABLES = ("CFF ", "CFF2", "glyf")
CATEGORIES = "LNPS"  # letters, numbers, punctuation, symbols: no marks, controls, private use or spaces
MISNAMED_SHARE = 0.1
MISSING = 0  # the number of the glyph that a face draws for characters that it lacks
LARGEST_EM = 32
UNHINTED = LoadFlags.NO_HINTING | LoadFlags.NO_BITMAP


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a font file.

    glyphs: code point -> glyph number, for every letter, number, punctuation mark and symbol that it maps.
    outlines: where in the file the outlines are; faces of one collection may share them.
    misnamed: its glyph names contradict its character map, as in old TeX and symbol fonts that have an
        alphabet of their own in the place of ASCII, so that "A" draws an arrow.
    """

    path: Path
    index: int
    glyphs: dict[int, int] = field(repr=False)
    outlines: int
    misnamed: bool

    @property
    def name(self) -> str:
        """The same wherever the file lies, because the random numbers of the face's images depend on it."""
        return f"{self.path.name}#{self.index}"


def matplotlib_fonts() -> Path:
    """The folder of the fonts that matplotlib ships: DejaVu and STIX, about 5,000 characters."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def find_fonts(folders: Sequence[Path]) -> list[Path]:
    """Every font file below the folders, each once however it is linked, by file name; no leftovers."""
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"fonts: {folder} is not a folder; name folders with {', '.join(SUFFIXES)} files")
        files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        own = (path for path in files if not any(map(leftover_kind, path.relative_to(folder).parts)))
        found.update(path.resolve() for path in own)
    if not found:
        where = ", ".join(map(str, folders))
        raise DataError(
            f"fonts: no {', '.join(SUFFIXES)} file in {where}; install fonts or name other folders"
        )
    return sorted(found, key=lambda path: (path.name, path))


def load_faces(path: Path) -> list[Face]:
    """Every face of a font file, in file order; DataError if the file cannot be read as a font."""
    faces = []
    try:
        with TTFont(path, fontNumber=0, lazy=True) as first:
            count = getattr(first.reader, "numFonts", 1)
        for index in range(count):
            with TTFont(path, fontNumber=index, lazy=True) as font:
                faces.append(_face(path, index, font))
            Pen(faces[-1]).ink(MISSING, side=16)  # FreeType has to accept it too
    except Exception as error:  # a damaged table makes its parser raise errors of many kinds
        raise DataError(f"{path} cannot be read as a font: {type(error).__name__}: {error}") from error
    return faces


def _face(path: Path, index: int, font: TTFont) -> Face:
    names = {
        code: name
        for code, name in sorted((font.getBestCmap() or {}).items())
        if unicodedata.category(chr(code))[0] in CATEGORIES
    }
    return Face(
        path=path,
        index=index,
        glyphs={code: font.getGlyphID(name) for code, name in names.items()},
        outlines=next((font.reader.tables[tag].offset for tag in OUTLINE_TABLES if tag in font), -index - 1),
        misnamed=_misnamed(names),
    )


def _misnamed(names: dict[int, str]) -> bool:
    """Compared with Adobe's glyph list, which has most names; a few mistakes are normal in a good font."""
    meaning = {name: _canonical(agl.toUnicode(name)) for name in set(names.values())}
    known = [(chr(code), meaning[name]) for code, name in names.items() if meaning[name]]
    wrong = sum(_canonical(character) != meant for character, meant in known)
    return wrong > MISNAMED_SHARE * len(known)


def _canonical(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


class Pen:
    """Draws the glyphs of one face with FreeType, without hints, which make equal outlines differ."""

    def __init__(self, face: Face) -> None:
        self._font = FT2Font(str(face.path), face_index=face.index)

    def ink(self, glyph: int, *, side: int) -> NDArray[np.uint8] | None:
        """Coverage [h, w], 0..255, of the glyph as large as fits a square of `side` pixels; None if blank.

        h and w may be side + 1, where the ink does not start on the pixel grid.
        """
        larger = max(self._load(glyph, em=side)[1:])
        if larger == 0:
            return None
        # The bound is for tiny dots, which would need a larger em than FreeType can draw.
        outline, *_ = self._load(glyph, em=min(side * side / larger, LARGEST_EM * side))
        left, bottom, right, top = outline.bbox
        start, stop = floor(left / 64), ceil(right / 64)
        canvas = np.zeros((ceil(top / 64) - floor(bottom / 64), stop - start), np.uint8)
        self._font.draw_glyph_to_bitmap(canvas, -start, 0, outline)
        x, y, width, height = cv2.boundingRect(canvas)
        return canvas[y : y + height, x : x + width] if width else None

    def _load(self, glyph: int, *, em: float) -> tuple[Any, float, float]:
        """The outline, its width and its height in pixels, at an em of so many pixels."""
        self._font.clear()
        self._font.set_size(em, 72)
        outline = self._font.load_glyph(glyph, UNHINTED)  # type: ignore[arg-type]  # int by another name
        left, bottom, right, top = outline.bbox  # in 64ths of a pixel
        return outline, (right - left) / 64, (top - bottom) / 64
