"""Contact sheets: many images in one PNG file, each with its name below it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from partialfc.data.images.opencv import cv2
from partialfc.errors import ConfigError, printable
from partialfc.files import replacing_output, require_file
from partialfc.report.tiles import Mark, Pixels, Tile, thumbnail

MOST_TILES = 10_000
_GAP = 12  # pixels between tiles, and around all
_LINE = 15  # of a line of text
_PAPER, _INK, _FAINT, _EMPTY = "#ffffff", "#1d2733", "#6b7785", "#eceff3"
_FRAMES = {Mark.KEPT: "#2e8b57", Mark.LEFT_OUT: "#c23b4b", Mark.SUSPECT: "#c23b4b"}


def check_sheet(option: str, output: Path) -> None:
    """Before any work is done: ConfigError unless `output` is a .png file that can be written."""
    require_file(option, output, suffix=".png")


def draw_sheet(
    tiles: Sequence[Tile], output: Path, *, columns: int = 0, side: int = 112, title: str = ""
) -> Path:
    """Write the PNG `output`, which is returned: the tiles in rows of `columns`, 0: about a square.

    side: pixels of a tile's side. Larger images are made smaller, and small ones larger by a whole number.
    Names that are too long are cut in the middle. Raises ConfigError where there is no tile, where there are
    more than MOST_TILES, and where the sheet cannot be written.
    """
    if not 1 <= len(tiles) <= MOST_TILES:
        raise ConfigError(f"a sheet has 1 to {MOST_TILES:,} images, not {len(tiles):,}")
    if columns < 0 or not 16 <= side <= 1024:
        raise ConfigError(f"columns {columns} and side {side}: must be 0 or more, and 16 to 1024")
    columns = min(columns or math.ceil(math.sqrt(1.5 * len(tiles))), len(tiles))
    lines = 1 + any(tile.detail for tile in tiles)
    width, height = side + _GAP, side + lines * _LINE + _GAP + 4
    top = _LINE + _GAP if title else 0
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (columns * width + _GAP, top + rows * height + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((_GAP, _GAP - 2), _fitted(title, _font(14), sheet.width - 2 * _GAP), _INK, _font(14))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        _draw_tile(sheet, pen, tile, left=_GAP + column * width, top=top + _GAP + row * height, side=side)
    with replacing_output(output, "sheet") as beside:
        sheet.save(beside, format="png", optimize=True)
    return output


def _draw_tile(sheet: Any, pen: Any, tile: Tile, *, left: int, top: int, side: int) -> None:
    box = (left, top, left + side - 1, top + side - 1)
    if tile.pixels is None:
        pen.rectangle(box, _EMPTY)
        for start, end in (((left, top), box[2:]), ((left, box[3]), (box[2], top))):
            pen.line((*start, *end), _FAINT)
    else:
        pixels = _fitting(tile.pixels, side)
        height, width = pixels.shape[:2]
        place = left + (side - width) // 2, top + (side - height) // 2
        pen.rectangle(box, _EMPTY)
        sheet.paste(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels), place)
    if tile.mark in _FRAMES:
        pen.rectangle((left - 3, top - 3, box[2] + 3, box[3] + 3), outline=_FRAMES[tile.mark], width=3)
    for line, (text, colour) in enumerate(((tile.caption, _INK), (tile.detail, _FAINT))):
        place = left, top + side + 4 + line * _LINE
        pen.text(place, _fitted(text, _font(11), side), colour, _font(11))


def _fitting(pixels: Pixels, side: int) -> Pixels:
    """The image with its larger side at most `side`; a small one is enlarged by a whole number."""
    height, width, channels = pixels.shape
    times = side // max(height, width)
    if times < 2:
        return thumbnail(pixels, side)
    larger: npt.NDArray[Any] = cv2.resize(
        pixels, (width * times, height * times), interpolation=cv2.INTER_NEAREST
    )
    return larger.reshape(height * times, width * times, channels)


def _fitted(text: str, font: Any, width: int) -> str:
    """One line of printable text of at most that many pixels, cut in the middle where it is longer."""
    text = printable(text.replace("\t", " "))
    kept = min(len(text), 4 * width)  # no character is that narrow
    while True:
        cut = text if kept >= len(text) else f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
        if kept <= 0 or font.getlength(cut) <= width:
            return cut
        kept -= 1


def _font(size: int) -> Any:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)
