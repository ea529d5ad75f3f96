"""Places that a picture cannot be written to."""

import pytest
from matplotlib.figure import Figure

from partialfc.errors import ConfigError
from partialfc.report.figure import check_picture, save_picture


def test_a_picture_is_written(tmp_path):
    assert save_picture(Figure(), tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("place", ["/proc/x.png", "nowhere/x.png", "folder.png", "file/x.png"])
def test_a_place_that_cannot_be_written_is_named_with_the_reason(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigError, match=rf"cannot write the picture {place}: \w.*; name a .png file in a folder"
    ):
        save_picture(Figure(), tmp_path.__class__(place))


def test_what_is_no_picture_file_is_said_before_any_work(tmp_path):
    check_picture("--plot", None)
    check_picture("--plot", tmp_path / "a.png")
    for wrong in (tmp_path / "a.jpg", tmp_path, tmp_path / "nowhere" / "a.png"):
        with pytest.raises(
            ConfigError, match=f"--plot is '{wrong}'; it must be a .png file in a folder that exists"
        ):
            check_picture("--plot", wrong)
