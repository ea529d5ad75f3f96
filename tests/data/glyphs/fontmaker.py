"""Small TrueType fonts of blocks, so that a test knows every picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont

Box = tuple[int, int, int, int]  # left, bottom, right, top, of an em of 1000
Drawing = list[Box]

FRAME: Drawing = [(0, 0, 700, 100), (0, 700, 700, 800), (0, 100, 100, 700), (600, 100, 700, 700)]


def pattern(key: int, *, weight: int) -> Drawing:
    """A pattern of blocks that belongs to `key`, like a character; `weight` 0, 1, ... like a face."""
    cells = np.random.default_rng(key).random((6, 6)) < 0.5
    cells[0, 0] = cells[5, 5] = True  # the ink always spans the same square
    inset = 12 * weight
    return [
        (150 * x + inset, 150 * y + inset, 150 * x + 150 - inset, 150 * y + 150 - inset)
        for y, x in np.argwhere(cells).tolist()
    ]


def make_font(drawings: Mapping[str, Drawing], *, names: Mapping[str, str] | None = None) -> TTFont:
    """A font that draws these characters, and FRAME for any other; `names` gives glyph names."""
    glyph_of = {ord(character): f"uni{ord(character):04X}" for character in drawings}
    glyph_of |= {ord(character): name for character, name in (names or {}).items()}
    outlines = {".notdef": FRAME}
    outlines |= {glyph_of[ord(character)]: boxes for character, boxes in drawings.items()}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(list(outlines))
    builder.setupCharacterMap(glyph_of)
    builder.setupGlyf({name: _outline(boxes) for name, boxes in outlines.items()})
    builder.setupHorizontalMetrics(dict.fromkeys(outlines, (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Blocks", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    # A font carries the time of its making; tests that compare bytes must not.
    builder.font["head"].created = builder.font["head"].modified = 0
    builder.font.recalcTimestamp = False
    return builder.font


def save_font(path: Path, drawings: Mapping[str, Drawing], *, names: Mapping[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    make_font(drawings, names=names).save(path)


def save_collection(path: Path, *fonts: TTFont) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    collection = TTCollection()
    collection.fonts = list(fonts)
    collection.save(path, shareTables=True)


def _outline(boxes: Drawing) -> object:
    pen = TTGlyphPen(None)
    for left, bottom, right, top in boxes:
        pen.moveTo((left, bottom))
        for corner in ((left, top), (right, top), (right, bottom)):
            pen.lineTo(corner)
        pen.closePath()
    return pen.glyph()
