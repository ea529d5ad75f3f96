"""Image folders: stable ids, what counts as an image and what as a class, loud refusals."""

import logging
import os
import pickle
from pathlib import Path

import pytest

from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError, ImageError
from tests.data.loading.cases import build
from tests.data.sources.cases import put
from tests.paths import MXNET


def names(source: FolderSource) -> list[str]:
    """The images' paths below the folder."""
    return [str(Path(source.name(index)).relative_to(source.path)) for index in range(len(source))]


def content(source: FolderSource) -> list[tuple[str, int]]:
    return [(name, source.read(index)[1]) for index, name in enumerate(names(source))]


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
    put(tmp_path, "cat/1.png", "cat/notes.txt", "cat/more.TXT", "cat/LICENSE", "cat/2.heic", "cat/3.tif")
    (tmp_path / "dog").mkdir()
    (tmp_path / "eel").mkdir()
    os.mkfifo(tmp_path / "cat/pipe.png")
    (tmp_path / "cat/zeros.png").symlink_to("/dev/zero")
    source = FolderSource(tmp_path)
    assert (source.num_classes, content(source)) == (3, [("cat/1.png", 0)])
    assert warnings(caplog) == [
        f"{tmp_path}: skipped 5 files and folders that are no images: 2 x *.txt, "
        "2 x pipes or devices, 1 x files without a suffix; rename what should count",
        f"{tmp_path}: 2 images are of a kind that is not read: 1 x *.heic, 1 x *.tif; "
        "convert them to JPEG or PNG",
        f"{tmp_path}: 2 of 3 classes have no image, such as 'dog'",
    ]


LEFT_BEHIND = [
    ".ipynb_checkpoints/1-checkpoint.png",
    "cat/.ipynb_checkpoints/1-checkpoint.png",
    "cat/._1.png",
    "dog/._1.png",
    ".DS_Store",
    "Thumbs.db",
    "cat/Desktop.ini",
    "__MACOSX/cat/._1.png",
    "cat/@eaDir/1.png/SYNOFILE_THUMB_M.png",
    ".Trash-1000/files/1.png",
    "lost+found/1.png",
    "$RECYCLE.BIN/1.png",
    ".git/1.png",
    ".1.png.swp",
    "cat/.hidden.png",
]


def test_what_notebooks_file_managers_and_archivers_leave_is_skipped_and_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "cat/1.png", "dog/1.png", *LEFT_BEHIND)
    assert content(FolderSource(tmp_path)) == [("cat/1.png", 0), ("dog/1.png", 1)]
    (warning,) = warnings(caplog)
    assert warning.startswith(
        f"{tmp_path}: skipped {len(LEFT_BEHIND)} files and folders that are no images: 2 x"
    )
    assert "2 x ._*" in warning
    assert "2 x .ipynb_checkpoints" in warning
    assert warning.endswith("other kinds; rename what should count")


def test_a_leftover_of_a_record_file_makes_no_record_folder(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.png")
    (tmp_path / "._train.rec").touch()
    assert content(open_source(tmp_path)) == [("cat/1.png", 0)]


def test_a_folder_of_leftovers_alone_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no class folder; .*; skipped: .*\.ipynb_checkpoints"):
        FolderSource(put(tmp_path, ".ipynb_checkpoints/1.png", ".DS_Store"))


def test_an_empty_image_is_a_bad_record_and_no_leftover(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.png")
    (tmp_path / "cat/2.png").write_bytes(b"")
    source = FolderSource(tmp_path)
    with build(source, global_batch=2, max_bad_records=1) as loader:
        next(loader)
        assert loader.bad_records == 1
    with build(source, global_batch=2) as loader, pytest.raises(ImageError, match=r"cat/2\.png: .* empty"):
        next(loader)


def test_images_in_deeper_folders_count_for_their_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "cat/1.png", "cat/kittens/2.png", "cat/kittens/young/3.png", "dog/x/4.png", "dog/.x/5.png")
    source = open_source(tmp_path)
    assert content(source) == [
        ("cat/1.png", 0),
        ("cat/kittens/2.png", 0),
        ("cat/kittens/young/3.png", 0),
        ("dog/x/4.png", 1),
    ]
    assert source.read(2)[0] == (tmp_path / "cat/kittens/young/3.png").read_bytes()
    assert "3 of 4 images lie in folders within a class folder" in caplog.text


def test_with_depth_0_each_folder_that_holds_images_is_a_class(tmp_path: Path) -> None:
    put(tmp_path, "a/x/1.png", "a/y/2.png", "a/3.png", "b/4.png", "c/d/e/5.png", "empty/.x/6.png")
    source = open_source(tmp_path, class_depth=0)
    assert source.classes == ["a", "a/x", "a/y", "b", "c/d/e"]
    assert [*source.each_key()] == ["a/3.png", "a/x/1.png", "a/y/2.png", "b/4.png", "c/d/e/5.png"]
    assert source.class_ids().tolist() == [0, 1, 2, 3, 4]
    assert source.empty_classes == 0
    with pytest.raises(DataError, match=r"6\.png: lies outside .*; move it into one$"):
        open_source(put(tmp_path, "6.png"), class_depth=0)
    with pytest.raises(DataError, match="has no class folder"):
        open_source(tmp_path / "empty", class_depth=0)


def test_class_depth_says_which_folders_are_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "a/x/1.png", "a/y/2.png", "a/y/deep/3.png", "b/x/4.png")
    source = open_source(tmp_path, class_depth=2)
    assert isinstance(source, FolderSource)
    assert source.classes == ["a/x", "a/y", "b/x"]
    assert content(source) == [("a/x/1.png", 0), ("a/y/2.png", 1), ("a/y/deep/3.png", 1), ("b/x/4.png", 2)]
    assert "1 of 4 images lie in folders within" in caplog.text
    assert content(FolderSource(tmp_path, ["b/x", "a/y", "a/x"], class_depth=2))[0] == ("b/x/4.png", 0)
    with pytest.raises(DataError, match=r"a/5\.png: lies outside .* or lower class_depth, which is 2"):
        FolderSource(put(tmp_path, "a/5.png"), class_depth=2)
    (tmp_path / "b/x/none").mkdir()
    with pytest.raises(DataError, match=r"has no class folder; images go to .*/<folder>/<folder>/<folder>/"):
        FolderSource(tmp_path / "b/x/none", class_depth=3)
    with pytest.raises(ValueError, match="class_depth is -1"):
        FolderSource(tmp_path, class_depth=-1)
    with pytest.raises(DataError, match="class_depth is 2, but only image folders have one"):
        open_source(MXNET / "train.rec", class_depth=2)


def test_links_that_would_count_images_twice_or_without_end_are_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, elsewhere = put(tmp_path / "data", "cat/1.png", ".store/bird/2.png"), put(tmp_path / "dog", "1.png")
    for link, target in {
        data / "all": data,
        data / "around": tmp_path,
        data / "cat/again": data / "cat",
        data / "copy": data / "cat",
        data / "dog": elsewhere,  # this one brings images in
        elsewhere / "loop": elsewhere,
        data / "bird": data / ".store/bird",  # and this one, too
        data / "itself": data / "itself",
        data / "cat/gone.png": tmp_path / "gone.png",
    }.items():
        link.symlink_to(target)
    source = FolderSource(data)
    assert names(source) == ["bird/2.png", "cat/1.png", "cat/gone.png", "dog/1.png"]
    assert "5 x links within the data" in caplog.text
    with pytest.raises(DataError, match=r"cat/gone\.png: cannot be read"):
        source.read(2)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


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
    with pytest.raises(
        DataError, match=r"loose/b\.PNG: lies outside a class folder .2 in all.; move it into one$"
    ):
        FolderSource(put(tmp_path / "loose", "a/1.png", "b.PNG", "c.webp"))
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


def test_the_class_ids_of_all_images_are_known_without_reading_one(tmp_path: Path) -> None:
    source = FolderSource(put(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png"), ["ant", "cat", "bee", "dog"])
    assert source.class_ids().tolist() == [1, 1, 3]
    assert source.class_ids().tolist() == [source.class_id(index) for index in range(3)]
