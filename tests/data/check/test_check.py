"""A check finds each thing that is wrong, and nothing else; with any number of processes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from partialfc.data.check.check import check_source
from partialfc.data.check.findings import Checked
from partialfc.data.check.kinds import Kind
from partialfc.data.images.codec import encode_png
from partialfc.data.sources.keys import write_keys
from partialfc.data.sources.recordio import Header, RecordWriter, pack
from partialfc.data.sources.source import open_source
from partialfc.errors import RecordIndexError
from tests.data.check.cases import BAD, SOUND, WRONG, picture, wrong_folder
from tests.data.sources.cases import put
from tests.data.sources.records import lines_of


def check(path: Path, **options: Any) -> Checked:
    return check_source(open_source(path), **{"workers": 0, **options})


def kinds_by_key(found: Checked) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for kind in found.kinds:
        indices = [single.index for single in found.singles.get(kind, ())]
        indices += [index for group in found.groups.get(kind, ()) for index in group.indices]
        for index in indices:
            kinds.setdefault(found.source.key(index), set()).add(str(kind))
    return kinds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wrong_folder(tmp_path_factory.mktemp("wrong"))


def test_everything_that_is_wrong_is_found_and_nothing_else(folder: Path) -> None:
    found = check(folder)
    assert found.anything
    assert kinds_by_key(found) == WRONG
    assert [found.count(kind) for kind in Kind] == [2, 0, 1, 1, 0, 0, 1, 1, 1, 1]
    assert found.formats == {"PNG": 12, "JPEG": 3}
    assert found.sizes[48, 48] == 14


def test_what_training_should_leave_out_leaves_a_clean_source(folder: Path, tmp_path: Path) -> None:
    found = check(folder)
    assert {key for key, _ in found.bad(near=False)} == BAD
    lines = dict(found.bad(near=True))
    assert lines.keys() == BAD | {"cat/near2.jpg"}
    assert lines["cat/twice3.png"] == "duplicate: in a group with cat/twice.png"
    assert lines["cat/both.png"] == "conflict: in a group with dog/both.png"
    assert lines["cat/empty.png"] == "broken: the file is empty, 0 bytes"
    write_keys(tmp_path / "bad.txt", found.bad(near=True))
    rest = check_source(open_source(folder, leave_out=tmp_path / "bad.txt"), workers=0)
    assert kinds_by_key(rest) == {key: WRONG[key] for key in ("cat/alike.png", "dog/alike.jpg")}
    assert not check_source(rest.source, skip=[Kind.NEAR_CONFLICT], workers=0).anything


def test_processes_find_what_one_finds(folder: Path) -> None:
    told = list[tuple[str, int, int]]()
    documents = []
    for workers in (0, 2):
        document = check(folder, workers=workers, progress=lambda *each: told.append(each)).document()
        documents.append({name: value for name, value in document.items() if name != "seconds"})
    assert documents[0] == documents[1]
    assert told[:1] == [("checking", len(WRONG) + len(SOUND), len(WRONG) + len(SOUND))]


def test_the_document_names_images_classes_and_which_to_keep(folder: Path) -> None:
    document = check(folder).document()
    assert (document["images"], document["classes"]) == (17, 2)
    assert document["found"]["duplicate"] == 1
    assert document["findings"]["blank"] == [
        {"key": "cat/blank.png", "class": "cat", "why": "all of its pixels are nearly alike"}
    ]
    (group,) = document["findings"]["duplicate"]
    assert [image["keep"] for image in group["images"]] == [True, False, False]
    assert group["same_bytes"] is False
    (group,) = document["findings"]["conflict"]
    assert [(image["class"], image["keep"]) for image in group["images"]] == [("cat", False), ("dog", False)]
    assert group["same_bytes"] is True


@pytest.mark.parametrize("kind", Kind)
def test_what_is_skipped_is_neither_found_nor_written(folder: Path, kind: Kind) -> None:
    found = check(folder, skip=[kind])
    assert kind not in found.kinds
    kept = {key: kinds - {str(kind)} for key, kinds in WRONG.items()}
    assert kinds_by_key(found) == {key: kinds for key, kinds in kept.items() if kinds}
    assert not [why for _, why in found.bad(near=True) if why.startswith(f"{kind}:")]


def test_what_a_viewer_shows_in_another_way_is_found_and_not_left_out(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 3
    (tmp_path / "cat").mkdir()
    Image.fromarray(picture(0)).save(tmp_path / "cat/turned.jpg", exif=turned)
    through = np.dstack([picture(1), np.full((48, 48), 9, np.uint8)])
    Image.fromarray(through).save(tmp_path / "cat/through.png")
    Image.fromarray(picture(2)).save(tmp_path / "cat/plain.png")
    found = check(tmp_path)
    assert kinds_by_key(found) == {"cat/turned.jpg": {"turned"}, "cat/through.png": {"transparent"}}
    assert list(found.bad(near=True)) == []
    assert kinds_by_key(check(tmp_path, skip=[Kind.TURNED])) == {"cat/through.png": {"transparent"}}


def test_a_size_that_is_asked_for_holds_for_all(folder: Path) -> None:
    sizes = kinds_by_key(check(folder, size=(7, 7)))
    assert {key for key, kinds in sizes.items() if "size" in kinds} == {
        key for key in (*SOUND, *WRONG) if WRONG.get(key) != {"broken"} and key != "cat/small.png"
    }
    (found,) = check(folder, size=(48, 48)).singles[Kind.SIZE]
    assert found.why == "7 x 7 pixels (height x width): it must be 48 x 48"
    assert not check(folder, min_side=7).count(Kind.SIZE)


def records(path: Path, *labels: float) -> Path:
    """A .rec in InsightFace's layout, with a class record for all images; each is its own picture."""
    stop = len(labels) + 1
    with RecordWriter(path) as writer:
        writer.write(0, pack(Header(2, (stop, stop + 1)), b""))
        for key, label in enumerate(labels, start=1):
            writer.write(key, pack(Header(0, (label,), key), encode_png(picture(key))))
        writer.write(stop, pack(Header(2, (1, stop), stop), b""))
    return path


def test_labels_beyond_the_range_and_damaged_records_are_found(tmp_path: Path) -> None:
    path = records(tmp_path / "a.rec", 0, 1, 7, 2.5, 1, 0)
    (tmp_path / "property").write_text("5,48,48\n")
    data, start = bytearray(path.read_bytes()), int(lines_of(path)[5].split()[1])
    data[start] ^= 1
    path.write_bytes(data)
    found = check(path)
    assert kinds_by_key(found) == {"3": {"label"}, "4": {"label"}, "5": {"broken"}}
    whys = {single.index: single.why for single in found.singles[Kind.LABEL]}
    assert whys[2] == "label 7: num_classes is 5, so labels must be 0..4"
    assert "a class id must be a whole number" in whys[3]
    assert f"record 5 at byte {start}: starts with" in found.singles[Kind.BROKEN][0].why
    assert found.empty_classes == 3
    assert kinds_by_key(check(path, num_classes=8)).keys() == {"4", "5"}
    (single,) = [each for each in found.document()["findings"]["label"] if each["key"] == "4"]
    assert single["class"] is None


def test_the_index_of_another_file_is_an_error(tmp_path: Path) -> None:
    path = records(tmp_path / "a.rec", *range(9))
    lines = lines_of(path)
    path.with_suffix(".idx").write_bytes(b"".join(lines[:5] + lines[6:]))
    with pytest.raises(RecordIndexError, match=r"delete it to have the .rec scanned"):
        check(path)


@pytest.mark.parametrize("workers", [0, 2])
def test_all_broken_and_one_class(tmp_path: Path, workers: int) -> None:
    folder = put(tmp_path, *(f"cat/{number}.png" for number in range(100)))
    for file in (folder / "cat").iterdir():
        file.write_bytes(b"no image")
    found = check(folder, workers=workers)
    assert (found.count(Kind.BROKEN), found.images(Kind.DUPLICATE)) == (100, 0)
    assert not found.sizes
    assert found.empty_classes == 1
    assert len(list(found.bad(near=True))) == 100


def test_a_file_that_cannot_be_read_is_found(tmp_path: Path) -> None:
    folder = put(tmp_path, "cat/1.png")
    (folder / "cat/2.png").symlink_to(folder / "gone.png")
    (found,) = check(folder).singles[Kind.BROKEN]
    assert found.why == f"{folder}/cat/2.png: cannot be read: No such file or directory"


def test_images_of_one_colour_are_the_same_only_where_they_are(tmp_path: Path) -> None:
    """They have no perceptual hash."""
    folder = put(tmp_path, *(f"cat/{number}.png" for number in range(4)))
    (folder / "cat/9.png").write_bytes((folder / "cat/1.png").read_bytes())
    found = check(folder)
    assert [found.count(kind) for kind in Kind] == [0, 0, 0, 5, 0, 0, 1, 0, 0, 0]


def test_the_number_of_bits_decides_what_is_near(tmp_path: Path) -> None:
    folder = wrong_folder(tmp_path)
    near = (Kind.NEAR_DUPLICATE, Kind.NEAR_CONFLICT)
    few, many = check(folder, distance=0), check(folder, distance=16)
    assert sum(few.images(kind) for kind in near) <= 4
    assert sum(many.images(kind) for kind in near) >= 4
