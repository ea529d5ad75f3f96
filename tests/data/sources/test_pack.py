"""Packing image folders to RecordIO: bytes, ids and names stay, and bad images are told at once."""

import multiprocessing
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partialfc.data.images.codec import decode, encode_jpeg, encode_png
from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.pack import Packed, pack_source
from partialfc.data.sources.record_reader import RecordReader
from partialfc.data.sources.recordio import Header, RecordWriter, pack
from partialfc.errors import DataError, ImageError
from tests.data.sources.cases import png, put
from tests.data.sources.records import images_of, lines_of
from tests.disks import fill, small_disk


def test_packing_keeps_bytes_ids_and_names(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "dog/1.png", "cat/1.png", "cat/2.png")
    (folder / "eel").mkdir()
    (folder / "dog/2.jpg").write_bytes(encode_jpeg(np.zeros((8, 8, 1), np.uint8)))
    out = tmp_path / "deep" / "out"
    assert pack_source(folder, out) == Packed(out / "train.rec", images=4, classes=3)
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
    pack_source(folder, tmp_path / "out", classes=["dog", "ant", "cat"])
    source = RecordSource(tmp_path / "out" / "train.rec")
    assert [source.read(index)[1] for index in range(2)] == [0, 2]
    assert (tmp_path / "out" / "classes.txt").read_text() == "dog\nant\ncat\n"
    with RecordReader(source.path) as reader:
        assert list(reader.keys) == [0, 1, 2, 3, 4, 5]


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    """Six images, of which the first, one in the middle and the last cannot be used, and a leftover."""
    folder = put(
        tmp_path / "in", *(f"{name}/{number}.png" for name in ("cat", "dog", "eel") for number in "12")
    )
    (folder / "cat/1.png").write_bytes(b"")
    (folder / "dog/1.png").write_bytes(png(0)[:-20])
    (folder / "eel/2.png").unlink()
    (folder / "eel/2.png").symlink_to(tmp_path / "gone.png")
    return put(folder, "cat/._1.png")


def test_packing_names_all_bad_images_at_once_and_leaves_no_records(spoilt: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        pack_source(spoilt, tmp_path / "out", max_bad=2)
    head, *bad, remedy = str(caught.value).splitlines()
    assert head == "3 of 6 images cannot be used:"
    for line, start in zip(
        bad, ("cat/1.png: the file is empty", "dog/1.png: damaged", "eel/2.png"), strict=True
    ):
        assert start in line
    assert "--max-bad 3, which is 2 now" in remedy
    assert list((tmp_path / "out").iterdir()) == []


def test_packing_leaves_bad_images_out_as_asked(
    spoilt: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = pack_source(spoilt, tmp_path / "out", max_bad=3)
    assert (packed.images, packed.classes, packed.left_out) == (3, 3, 3)
    source = RecordSource(packed.path)
    folder = FolderSource(spoilt)
    assert [source.read(index) for index in range(3)] == [folder.read(index) for index in (1, 3, 4)]
    assert caplog.text.count("left out: ") == 3
    assert "1 x ._*" in caplog.text


def test_packing_only_bad_images_says_so(tmp_path: Path) -> None:
    put(tmp_path / "in", "cat/1.png")
    (tmp_path / "in/cat/1.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"none of its 1 images can be used, such as .*/in/cat/1\.png: no JPEG"
    ):
        pack_source(tmp_path / "in", tmp_path / "out", max_bad=1)


def test_packing_has_a_bound_on_pixels_and_a_depth_of_classes(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "a/cat/1.png", "b/cat/1.png")
    pack_source(folder, tmp_path / "out", class_depth=2)
    assert (tmp_path / "out/classes.txt").read_text() == "a/cat\nb/cat\n"
    with pytest.raises(ImageError, match=r"2 of 2 .*\n.*8 x 8 pixels by its header: images may have 63"):
        pack_source(folder, tmp_path / "small", max_pixels=63)


def test_formats_besides_jpeg_and_png_are_packed_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "cat").mkdir(parents=True)
    image = Image.fromarray(np.full((8, 8), 40, np.uint8))
    for suffix in ("bmp", "webp", "pgm"):
        image.save(folder / "cat" / f"1.{suffix}")
    pack_source(folder, tmp_path / "out")
    source = RecordSource(tmp_path / "out/train.rec")
    for index, suffix in enumerate(("bmp", "pgm", "webp")):
        assert source.read(index)[0] == (folder / f"cat/1.{suffix}").read_bytes()
        assert np.abs(decode(source.read(index)[0]).astype(int) - 40).max() <= 1


def test_packing_counts_other_sizes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = put(tmp_path / "in", "cat/1.png", "cat/2.png")
    (folder / "cat/3.png").write_bytes(png(0, size=9))
    pack_source(folder, tmp_path / "out")
    assert "1 of 3 images are not 8x8" in caplog.text


def test_a_class_name_that_breaks_the_list_is_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "two\nlines/1.png")
    with pytest.raises(DataError, match="line break"):
        pack_source(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_packed_already_is_replaced_only_if_asked_for(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "cat/1.png")
    pack_source(folder, tmp_path / "out")
    put(folder, "cat/2.png")
    with pytest.raises(DataError, match=r"out/train\.rec: exists already; .* --overwrite"):
        pack_source(folder, tmp_path / "out")
    assert len(RecordSource(tmp_path / "out/train.rec")) == 1
    assert pack_source(folder, tmp_path / "out", overwrite=True).images == 2
    assert len(RecordSource(tmp_path / "out/train.rec")) == 2


def gaps(path: Path, *labels: int) -> Path:
    """As im2rec writes a shuffled list: images only, in no order of their labels."""
    with RecordWriter(path) as writer:
        for key, label in enumerate(labels):
            writer.write(key, pack(Header(0, (label,), key), png((10 * label + key) % 256)))
    return path


@pytest.mark.parametrize("kind", ["folder", "rec"])
def test_a_full_disk_says_which_file_and_how_much_it_takes(tmp_path: Path, kind: str) -> None:
    """The .rec takes the room, though a line of the small .idx may be what does not fit."""
    rng = np.random.default_rng(0)
    for index in range(30):
        path = tmp_path / "images" / str(index % 3) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(rng.integers(0, 256, (32, 32, 3), np.uint8)))
    source = tmp_path / "images"
    if kind == "rec":
        source = pack_source(source, tmp_path / "from").path
    else:  # one that is left out has no size
        (source / "0/gone.png").symlink_to(tmp_path / "gone.png")
    with small_disk(tmp_path / "disk") as disk:
        out = disk / "out"
        for room in (0, 4096, 50_000, 96_000):
            fill(disk, leave=room)
            with pytest.raises(DataError, match=f"^{out}/train.rec: No space left on device") as caught:
                pack_source(source, out, max_bad=1)
            told = re.search(
                r"\((\d+)[\d.]* k?B free\); the pack takes about (\d+)[\d.]* kB: make", str(caught.value)
            )
            assert told, caught.value
            assert int(told[2]) > 90
            assert not list(out.glob("*"))
        fill(disk, leave=150_000)
        assert pack_source(source, out, max_bad=1).images == 30


def test_a_rec_is_packed_in_the_order_of_its_classes(tmp_path: Path) -> None:
    packed = pack_source(gaps(tmp_path / "a.rec", 9, 0, 5, 0), tmp_path / "out")
    assert (packed.images, packed.classes) == (4, 10)
    assert images_of(packed.path) == [(png(1), 0), (png(3), 0), (png(52), 5), (png(90), 9)]
    assert (tmp_path / "out/classes.txt").read_text() == "".join(f"{label}\n" for label in range(10))


@pytest.mark.parametrize("indexed", [True, False])
def test_classes_without_images_are_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, indexed: bool
) -> None:
    """Also those that no class record speaks of; opening the file sees the last label."""
    path = tmp_path / "a.rec"
    labels = [0] * 100 + [9] + [5] * 100
    with RecordWriter(path) as writer:
        writer.write(0, pack(Header(2, (202, 205)), b""))
        for key, label in enumerate(labels, start=1):
            writer.write(key, pack(Header(0, (label,), key), png(label)))
        for key, span in enumerate([(1, 101), (101, 102), (102, 202)], start=202):
            writer.write(key, pack(Header(2, span, key), b""))
    (tmp_path / "property").write_text("3,8,8\n")
    if not indexed:
        path.with_suffix(".idx").unlink()
    assert pack_source(path, tmp_path / "out").classes == 10
    assert [line for line in caplog.messages if "7 of 10" in line] == [
        f"{path}: 7 of 10 classes have no image"
    ]


def test_relabelling_a_rec_closes_gaps_and_keeps_old_ids_as_names(tmp_path: Path) -> None:
    packed = pack_source(gaps(tmp_path / "a.rec", 9, 0, 5, 0), tmp_path / "out", relabel=True)
    assert (packed.images, packed.classes) == (4, 3)
    assert images_of(packed.path) == [(png(1), 0), (png(3), 0), (png(52), 1), (png(90), 2)]
    assert (tmp_path / "out/classes.txt").read_text() == "0\n5\n9\n"
    assert (tmp_path / "out/property").read_text() == "3,8,8\n"
    assert RecordSource(packed.path).num_classes == 3


def test_relabelling_keeps_class_names_and_leaves_out_classes_without_good_images(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "ant/1.png", "bee/1.png", "cat/1.png", "dog/1.png")
    (folder / "bee/1.png").write_bytes(b"")
    (folder / "ant/1.png").unlink()
    first = pack_source(folder, tmp_path / "one", max_bad=1)
    assert (first.images, first.classes) == (2, 4)
    direct = pack_source(folder, tmp_path / "two", max_bad=1, relabel=True)
    again = pack_source(first.path, tmp_path / "three", relabel=True)
    for packed in (direct, again):
        assert (packed.images, packed.classes) == (2, 2)
        assert images_of(packed.path) == [(png(2), 0), (png(3), 1)]
        assert packed.path.with_name("classes.txt").read_text() == "cat\ndog\n"


def test_a_damaged_record_is_left_out_as_asked(tmp_path: Path) -> None:
    path = gaps(tmp_path / "a.rec", 1, 0, 1)
    (tmp_path / "property").write_text("2,8,8\n")
    data, start = bytearray(path.read_bytes()), int(lines_of(path)[1].split()[1])
    data[start] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"1 of 3 images .*\n.*record 1 at byte {start}: starts with"):
        pack_source(path, tmp_path / "out")
    packed = pack_source(path, tmp_path / "out", max_bad=1)
    assert (packed.images, packed.classes, packed.left_out) == (2, 2, 1)
    assert images_of(packed.path) == [(png(10), 1), (png(12), 1)]


def test_a_damaged_first_record_is_named_at_opening(tmp_path: Path) -> None:
    path = gaps(tmp_path / "a.rec", 1, 0, 1)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    (tmp_path / "property").write_text("2,8,8\n")
    with pytest.raises(DataError, match=r"record 0 at byte 0: starts with"):
        pack_source(path, tmp_path / "out")


def test_labels_far_apart_are_packed_only_without_their_gaps(tmp_path: Path) -> None:
    path = gaps(tmp_path / "a.rec", 0, 1_000_000)
    with pytest.raises(DataError, match=r"2 images have labels up to 1000000, .* --relabel"):
        pack_source(path, tmp_path / "out")
    (tmp_path / "property").write_text("90000000000,8,8")
    with pytest.raises(
        DataError,
        match=r"labels up to 1000000, and .*property says 90000000000 classes, .*correct .* --relabel",
    ):
        pack_source(path, tmp_path / "out")
    assert pack_source(path, tmp_path / "out", relabel=True).classes == 2
    assert (tmp_path / "out/classes.txt").read_text() == "0\n1000000\n"


@pytest.fixture(params=["folder", "rec"])
def many(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """300 images of several sizes in 7 classes, of which some cannot be used."""
    rng = np.random.default_rng(0)
    for index in range(300):
        path = tmp_path / "images" / str(index % 7) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(rng.integers(0, 256, (32, 8 + index % 3, 3), np.uint8)))
    if request.param == "rec":
        source = pack_source(tmp_path / "images", tmp_path / "from").path
        data, lines = bytearray(source.read_bytes()), lines_of(source)
        for number in (5, 290):
            data[int(lines[number].split()[1])] ^= 1
        source.write_bytes(data)
        return source
    for name in ("1/1.png", "3/290.png"):
        (tmp_path / "images" / name).write_bytes(b"")
    return tmp_path / "images"


@pytest.mark.parametrize("relabel", [False, True], ids=["ids kept", "relabelled"])
def test_workers_pack_the_same_bytes(
    many: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, relabel: bool
) -> None:
    """And name the same images that cannot be used, as a warning or as an error."""
    told, refused, progress = [], [], list[tuple[str, int, int]]()
    for workers in (0, 2):
        caplog.clear()
        out = tmp_path / f"out-{workers}"
        packed = pack_source(
            many,
            out,
            max_bad=2,
            relabel=relabel,
            workers=workers,
            progress=lambda *each: progress.append(each),
        )
        assert (packed.images, packed.left_out) == (298, 2)
        told.append(caplog.messages)
        with pytest.raises(ImageError) as caught:
            pack_source(many, tmp_path / "other", max_bad=1, workers=workers)
        refused.append(str(caught.value))
        assert progress[-1] == ("packing", 300, 300)
    assert told[0] == told[1]
    assert refused[0] == refused[1]
    for name in ("train.rec", "train.idx", "property", "classes.txt"):
        assert (tmp_path / "out-0" / name).read_bytes() == (tmp_path / "out-2" / name).read_bytes()


def test_workers_end_where_the_disk_is_full(tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())  # of other tests of this process
    rng = np.random.default_rng(0)
    (tmp_path / "images/a").mkdir(parents=True)
    for index in range(300):
        (tmp_path / f"images/a/{index}.png").write_bytes(
            encode_png(rng.integers(0, 256, (40, 40, 3), np.uint8))
        )
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(DataError, match=r"train\.rec: No space left on device"):
            pack_source(tmp_path / "images", disk / "out", workers=2)
        assert not list((disk / "out").glob("*"))
    assert set(multiprocessing.active_children()) <= before
