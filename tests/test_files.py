"""Files and folders appear whole or not at all."""

import signal
import tempfile
from pathlib import Path

import pytest

from partialfc.files import replacing, scratch, show_size, told, write_whole
from tests.disks import small_disk
from tests.processes import ENVIRONMENT, warm_python


def make_folder(path: Path, **files: str) -> None:
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as beside:
        beside.write_text("new")
        assert target.read_text() == "old"
        assert beside.parent == tmp_path
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_nothing_or_of_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "set"
    for text in ("first", "second"):
        with replacing(target) as beside:
            make_folder(beside, **{text: text})
            make_folder(beside / "inner", deep=text)
        assert names(target) == [text, "inner"] if text == "first" else ["inner", text]
        assert names(tmp_path) == ["set"]


def test_a_link_to_a_folder_is_replaced_and_what_it_names_is_left(tmp_path: Path) -> None:
    make_folder(tmp_path / "real", file="old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing(tmp_path / "link") as beside:
        make_folder(beside, file="new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link" / "file").read_text() == "new"
    assert (tmp_path / "real" / "file").read_text() == "old"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path: Path, error: type) -> None:
    (tmp_path / "a.txt").write_text("old")
    make_folder(tmp_path / "set", file="old")

    def fail(name: str, folder: bool) -> None:
        with replacing(tmp_path / name) as beside:
            if folder:
                make_folder(beside, file="half")
            else:
                beside.write_text("half")
            raise error

    for name in ("a.txt", "set"):
        with pytest.raises(error):
            fail(name, folder=name == "set")
    assert names(tmp_path) == ["a.txt", "set"]
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "set" / "file").read_text() == "old"


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    make_folder(tmp_path / "set", file="old")
    with pytest.raises(OSError, match="set"):
        write_whole(tmp_path / "set", "text")
    assert names(tmp_path) == ["set"]
    assert names(tmp_path / "set") == ["file"]


def test_a_block_that_makes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


KILLED = """
import os, signal
from pathlib import Path
from partialfc.files import replacing

with replacing(Path("a.txt")) as beside:
    beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_the_old_content(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "old")
    done = warm_python().run("-c", KILLED, env=ENVIRONMENT, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "old"
    write_whole(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_400, "999 kB"), (999_700, "1 MB")],
)
def test_a_size_is_shown_in_the_largest_unit_that_it_fills(count: float, shown: str) -> None:
    assert show_size(count) == shown


def test_a_full_disk_of_temporary_files_says_what_to_do(tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with (
            pytest.raises(OSError, match="set TMPDIR to a folder with more room") as caught,
            scratch() as folder,
        ):
            (folder / "large").write_bytes(bytes(1 << 21))
        assert told(caught.value).startswith(f"{disk}/")
        with pytest.raises(FileNotFoundError, match="nowhere"), scratch() as folder:
            (folder / "nowhere").read_bytes()
