"""Contact sheets: every image is on them, small ones to the pixel, and any name fits below."""

from pathlib import Path

import numpy as np
import pytest

from partialfc.data.images.codec import decode
from partialfc.errors import ConfigError
from partialfc.report.sheet import MOST_TILES, check_sheet, draw_sheet
from partialfc.report.tiles import Mark, Tile, thumbnail


def tile(shade: int, *, height: int = 8, width: int = 8, channels: int = 3, **more) -> Tile:
    """Without a caption, whose edges have shades too."""
    return Tile(np.full((height, width, channels), shade, np.uint8), "", **more)


def test_a_sheet_has_every_image_in_rows(tmp_path: Path):
    sheet = tmp_path / "a.png"
    shades = [40, 80, 120, 160, 200]
    assert draw_sheet([tile(shade) for shade in shades], sheet, columns=2, side=32) == sheet
    pixels = decode(sheet.read_bytes(), channels=1)[..., 0]
    corners = [np.argwhere(pixels == shade).min(axis=0) for shade in shades]
    assert [(pixels == shade).sum() for shade in shades] == [32 * 32] * 5
    rows, columns = zip(*corners, strict=True)
    assert rows[0] == rows[1] < rows[2] == rows[3] < rows[4]
    assert columns[0] == columns[2] == columns[4] < columns[1] == columns[3]


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [(8, 8, (32, 32)), (20, 10, (20, 10)), (64, 16, (32, 8)), (3000, 1, (32, 1))],
    ids=["enlarged", "as it is", "smaller", "a line"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_keeps_its_shape(tmp_path: Path, height, width, shown, channels):
    draw_sheet([tile(77, height=height, width=width, channels=channels)], tmp_path / "a.png", side=32)
    pixels = decode((tmp_path / "a.png").read_bytes(), channels=1)[..., 0]
    assert (pixels == 77).sum() == shown[0] * shown[1]


def test_marks_titles_and_what_cannot_be_shown_are_drawn(tmp_path: Path):
    plain = draw_sheet([tile(9)], tmp_path / "plain.png", side=64)
    sizes = {decode(plain.read_bytes()).shape}
    for each, more in (
        (tile(9, mark=Mark.KEPT), {}),
        (Tile(tile(9).pixels, "a name"), {}),
        (tile(9, mark=Mark.SUSPECT), {}),
        (tile(9), {"title": "a title"}),
        (tile(9, detail="class dog"), {}),
        (Tile(None, ""), {}),
    ):
        drawn = draw_sheet([each], tmp_path / "a.png", side=64, **more)
        assert drawn.read_bytes() != plain.read_bytes()
        sizes.add(decode(drawn.read_bytes()).shape)
    assert len(sizes) == 3  # a title and a second line take room, the others do not


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\nb\x1b[31m", "日本", "\udce9.jpg"])
def test_any_name_fits_below_an_image(tmp_path: Path, name):
    of_short = decode(draw_sheet([tile(9)], tmp_path / "a.png", side=64).read_bytes()).shape
    long = draw_sheet([Tile(tile(9).pixels, name)], tmp_path / "b.png", side=64)
    assert decode(long.read_bytes()).shape == of_short


def test_thumbnails_do_not_change_what_they_are_given():
    pixels = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    before = pixels.copy()
    assert thumbnail(pixels, 5).shape == (5, 5, 3)
    assert thumbnail(pixels, 10) is pixels
    assert (pixels == before).all()


def test_a_sheet_that_cannot_be_made_is_refused(tmp_path: Path):
    for number in (0, MOST_TILES + 1):
        with pytest.raises(ConfigError, match=rf"1 to 10,000 images, not {number:,}"):
            draw_sheet([tile(1)] * number, tmp_path / "a.png")
    with pytest.raises(ConfigError, match="side 8: must be"):
        draw_sheet([tile(1)], tmp_path / "a.png", side=8)
    with pytest.raises(ConfigError, match=r"cannot write the sheet /proc/a.png: \w.*; name a .png file"):
        draw_sheet([tile(1)], Path("/proc/a.png"))
    for wrong in (tmp_path / "a.jpg", tmp_path, tmp_path / "nowhere/a.png"):
        with pytest.raises(ConfigError, match=f"--output is '{wrong}'; it must be a .png file"):
            check_sheet("--output", wrong)
