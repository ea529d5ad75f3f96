"""Image folders: stable ids, loud refusals, and packing to RecordIO."""

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from partialfc.data.images.codec import encode_jpeg, encode_png
from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.pack import Packed, pack_folder
from partialfc.data.sources.recordio import RecordReader
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError, ImageError


def png(shade: int, size: int = 8) -> bytes:
    return encode_png(np.full((size, size, 3), shade, np.uint8))


def put(folder: Path, *names: str) -> Path:
    """A PNG of its own shade under each name."""
    for shade, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(shade))
    return folder


def content(source: FolderSource) -> list[tuple[str, int]]:
    return [(source.name(index), source.read(index)[1]) for index in range(len(source))]


def test_ids_follow_the_sorted_folders_and_files(tmp_path: Path) -> None:
    put(tmp_path, "dog/b.JPG", "dog/a.jpeg", "cat/10.png", "cat/2.Png", "Ant/x.jpg")
    source = open_source(tmp_path)
    assert isinstance(source, FolderSource)
    assert source.classes == ["Ant", "cat", "dog"]
    assert source.num_classes == 3
    assert content(source) == [
        ("Ant/x.jpg", 0),
        ("cat/10.png", 1),
        ("cat/2.Png", 1),
        ("dog/a.jpeg", 2),
        ("dog/b.JPG", 2),
    ]
    assert source.read(3)[0] == (tmp_path / "dog/a.jpeg").read_bytes()
    assert content(pickle.loads(pickle.dumps(source))) == content(source)
    for index in (-1, 5):
        with pytest.raises(IndexError, match=f"index {index} of .* it has 5 images"):
            source.read(index)


def test_known_classes_keep_their_ids(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.png", "dog/1.png")
    source = FolderSource(tmp_path, classes=["zebra", "dog", "ant", "cat"])
    assert source.num_classes == 4
    assert content(source) == [("dog/1.png", 1), ("cat/1.png", 3)]


def test_an_unknown_folder_is_named_with_what_to_do(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.png", "dog/1.png", "eel/1.png")
    with pytest.raises(
        DataError, match=r"dog: not among the 1 known classes \(2 such folders\); the trained network"
    ):
        FolderSource(tmp_path, classes=["cat"])
    with pytest.raises(ValueError, match="classes names 'dog' twice"):
        FolderSource(tmp_path, classes=["cat", "dog", "eel", "dog"])


def test_what_is_no_image_and_who_has_none_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "cat/1.png", "cat/notes.txt", ".DS_Store")
    (tmp_path / "dog").mkdir()
    (tmp_path / "eel").mkdir()
    source = FolderSource(tmp_path)
    assert (source.num_classes, content(source)) == (3, [("cat/1.png", 0)])
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert messages == [
        f"{tmp_path}: 2 files are no images, such as .DS_Store",
        f"{tmp_path}: 2 of 3 classes have no image, such as 'dog'",
    ]


def test_a_clean_folder_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    FolderSource(put(tmp_path, "cat/1.png", "dog/1.png"))
    assert caplog.records == []


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="empty: has no class folder; images go to"):
        FolderSource(empty)
    (empty / "cat").mkdir()
    with pytest.raises(DataError, match="empty: no class folder holds an image"):
        FolderSource(empty)
    with pytest.raises(DataError, match=r"loose/b\.PNG: lies outside a class folder"):
        FolderSource(put(tmp_path / "loose", "a/1.png", "b.PNG"))
    with pytest.raises(DataError, match="cat/kittens: a folder inside a class folder"):
        FolderSource(put(tmp_path / "nested", "cat/1.png", "cat/kittens/1.png"))
    with pytest.raises(DataError, match="none: cannot be listed: No such file"):
        FolderSource(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be listed: Not a directory"):
        FolderSource(tmp_path / "loose" / "b.PNG")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_class_folder_is_named(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.png")
    (tmp_path / "cat").chmod(0)
    try:
        with pytest.raises(DataError, match="cat: cannot be listed: Permission denied"):
            FolderSource(tmp_path)
    finally:
        (tmp_path / "cat").chmod(0o755)


def test_an_image_that_went_away_is_named(tmp_path: Path) -> None:
    source = FolderSource(put(tmp_path, "cat/1.png", "cat/2.png"))
    (tmp_path / "cat/2.png").unlink()
    source.read(0)
    with pytest.raises(DataError, match=r"cat/2\.png: cannot be read: No such file"):
        source.read(1)


def test_packing_keeps_bytes_ids_and_names(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "dog/1.png", "cat/1.png", "cat/2.png")
    (folder / "eel").mkdir()
    (folder / "dog/2.jpg").write_bytes(encode_jpeg(np.zeros((8, 8, 1), np.uint8)))
    out = tmp_path / "deep" / "out"
    assert pack_folder(folder, out) == Packed(out / "train.rec", images=4, classes=3)
    assert (out / "classes.txt").read_text() == "cat\ndog\neel\n"
    assert (out / "property").read_text() == "3,8,8\n"
    packed, source = RecordSource(out / "train.rec"), FolderSource(folder)
    assert [packed.read(index) for index in range(4)] == [source.read(index) for index in range(4)]
    assert packed.num_classes == 3
    assert sorted(path.name for path in out.iterdir()) == [
        "classes.txt",
        "property",
        "train.idx",
        "train.rec",
    ]


def test_packing_with_known_classes_keeps_their_ids(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "dog/1.png", "cat/1.png")
    pack_folder(folder, tmp_path / "out", classes=["dog", "ant", "cat"])
    source = RecordSource(tmp_path / "out" / "train.rec")
    assert [source.read(index)[1] for index in range(2)] == [0, 2]
    assert (tmp_path / "out" / "classes.txt").read_text() == "dog\nant\ncat\n"
    with RecordReader(source.path) as reader:
        assert reader.keys.tolist() == [0, 1, 2, 3, 4, 5]


def test_packing_names_a_damaged_image_and_leaves_no_records(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "cat/1.png", "cat/2.png", "dog/1.png")
    (folder / "cat/2.png").write_bytes(png(0)[:-20])
    with pytest.raises(ImageError, match=r"in/cat/2\.png: damaged"):
        pack_folder(folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_packing_counts_other_sizes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = put(tmp_path / "in", "cat/1.png", "cat/2.png")
    (folder / "cat/3.png").write_bytes(png(0, size=9))
    pack_folder(folder, tmp_path / "out")
    assert "1 of 3 images are not 8x8" in caplog.text


def test_a_class_name_that_breaks_the_list_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "two\nlines/1.png")
    with pytest.raises(DataError, match="line break"):
        pack_folder(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
