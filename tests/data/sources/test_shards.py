"""What is the tar shards' own: their layout, the index that is kept, and what is wrong with them."""

import gzip
import logging
import os
import pickle

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from partialfc.data.check.statistics import statistics_of
from partialfc.data.sources import byte_files
from partialfc.data.sources.byte_files import expanded
from partialfc.data.sources.source import open_source
from partialfc.errors import ConfigError, DataError, ImageError, LabelError
from tests.data.sources.cases import png, put
from tests.data.sources.kinds import write_tar

GOOD = {"cats/1.png": png(1), "cats/1.cls": b"cat", "2.PNG": png(2), "2.json": b'{"class": "dog"}'}


def test_one_shard_and_what_counts_for_nothing(tmp_path):
    extra = {"2.txt": b"a caption", "._1.png": b"", "2.seg.png": b"mask", "3.cls": b"ant", "readme": b"x"}
    path = write_tar(tmp_path / "a.tar", GOOD | extra)
    source = open_source(path)
    assert [*source.each_key()] == ["a.tar/cats/1.png", "a.tar/2.PNG"]
    assert source.name(1) == f"{path} 2.PNG"
    assert source.classes == ["cat", "dog"]
    assert [source.read(index) for index in range(2)] == [(png(1), 0), (png(2), 1)]
    assert [remark.says for remark in source.remarks] == ["1 samples have no image"]


def test_a_folder_of_shards_is_one_source_and_keys_tell_them_apart(tmp_path):
    for number in range(3):
        write_tar(tmp_path / f"s-{number}.tar", {"1.png": png(number), "1.cls": b"7"})
    source = open_source(tmp_path)
    assert [*source.each_key()] == [f"s-{number}.tar/1.png" for number in range(3)]
    assert source.class_ids().tolist() == [7, 7, 7]
    assert source.classes is None
    assert len(open_source(tmp_path / "s-{0..1}.tar")) == 2
    with pytest.raises(DataError, match=r"s-3\.tar: cannot be opened: No such file"):
        open_source(tmp_path / "s-{0..3}.tar")
    with pytest.raises(DataError, match=r"t-\*\.tar: no file fits this pattern"):
        open_source(tmp_path / "t-*.tar")
    with pytest.raises(DataError, match=r"s-0\.tar: is named twice"):
        open_source(tmp_path / "s-{0,0}.tar")


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        pytest.param("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"], id="numbers"),
        pytest.param("{b,a}/{0..1}.tar", ["b/0.tar", "b/1.tar", "a/0.tar", "a/1.tar"], id="words"),
        pytest.param("https://h/a.tar?x=1&b=[2]", ["https://h/a.tar?x=1&b=[2]"], id="a query"),
        pytest.param("{a}.tar", ["{a}.tar"], id="no braces"),
    ],
)
def test_patterns(pattern, names):
    assert expanded(pattern) == names


@pytest.mark.parametrize(
    ("members", "error", "says"),
    [
        pytest.param(
            {"1.png": png(1)}, DataError, "sample '1' has no label: .* in 1.cls, or in 1.json", id="no label"
        ),
        pytest.param(
            GOOD | {"2.jpg": b""},
            DataError,
            "sample '2' has two images, '2.PNG' and '2.jpg'",
            id="two images",
        ),
        pytest.param(
            {"1.cls": b"1"}, DataError, "holds no image; .* one name up to the first dot", id="no image"
        ),
        pytest.param({"1.png": b"", "1.cls": b"\xff"}, LabelError, "1.cls is no UTF-8 text", id="no text"),
        pytest.param({"1.png": b"", "1.cls": b" "}, LabelError, "1.cls is empty", id="empty label"),
        pytest.param({"1.png": b"", "1.json": b"{"}, LabelError, "1.json is no JSON", id="no JSON"),
        pytest.param(
            {"1.png": b"", "1.json": b'{"cls": [1]}'}, LabelError, r"the label \[1\], which", id="a list"
        ),
        pytest.param({"1.png": b"", "1.cls": b"-1"}, LabelError, "label -1", id="negative"),
    ],
)
def test_samples_that_are_refused(tmp_path, members, error, says):
    with pytest.raises(error, match=rf"a\.tar: .*{says}"):
        open_source(write_tar(tmp_path / "a.tar", members))


def test_a_cls_goes_before_a_json_and_numbers_may_be_floats(tmp_path):
    members = {"1.cls": b"3", "1.json": b'{"label": 1}', "1.png": b"x"}
    members |= {"2.json": b'{"label": 2.0}', "2.png": b"x"}
    assert open_source(write_tar(tmp_path / "a.tar", members)).class_ids().tolist() == [3, 2]


def test_an_empty_image_is_a_bad_image(tmp_path):
    source = open_source(write_tar(tmp_path / "a.tar", {"1.png": b"", "1.cls": b"0"}))
    with pytest.raises(ImageError, match=r"a\.tar 1\.png: the image is empty"):
        source.read(0)


@pytest.mark.parametrize("size", [100, 700, 2000, 2048, 3000, 4095, 4096])
def test_a_shard_that_was_cut_is_an_error_wherever_that_is(tmp_path, size):
    """In the first header, in an image, a label, between two files, and before the mark at the end.

    Each file takes two blocks of 512 bytes.
    """
    path = write_tar(tmp_path / "a.tar", GOOD)
    os.truncate(path, size)
    with pytest.raises(DataError, match=r"a\.tar: cut short"):
        open_source(path)


def test_what_is_no_tar_or_compressed_is_an_error(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(DataError, match=r"a\.tar: cut short, damaged or no tar file"):
        open_source(tmp_path / "a.tar")
    tar = write_tar(tmp_path / "b.tar", GOOD)
    (tmp_path / "c.tar").write_bytes(gzip.compress(tar.read_bytes()))
    with pytest.raises(DataError, match="a compressed one must be unpacked first"):
        open_source(tmp_path / "c.tar")
    (tmp_path / "d.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"d\.tar\.gz: is "):
        open_source(tmp_path / "d.tar.gz")


def test_the_index_is_kept_beside_and_made_anew_for_another_file(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = write_tar(tmp_path / "a.tar", GOOD)
    first = [*open_source(path).each_key()]
    kept = tmp_path / "a.tar.index.npz"
    assert kept.exists()
    assert said(caplog) == 1
    assert [*open_source(path).each_key()] == first
    assert said(caplog) == 0
    write_tar(path, {"5.png": png(5), "5.cls": b"x"})
    assert [*open_source(path).each_key()] == ["a.tar/5.png"]
    assert said(caplog) == 1
    for damage in (kept.read_bytes()[:-100], b"", b"no npz"):
        kept.write_bytes(damage)
        assert [*open_source(path).each_key()] == ["a.tar/5.png"]
    assert said(caplog) == 3


def said(caplog) -> int:
    """How often a shard was read from end to end."""
    count = sum("reading where its images lie" in record.getMessage() for record in caplog.records)
    caplog.clear()
    return count


def test_the_index_is_kept_elsewhere_where_the_folder_takes_no_file(tmp_path, cache_folder, caplog):
    """A folder of the index's name stands for one that cannot be written."""
    caplog.set_level(logging.INFO)
    path = write_tar(tmp_path / "a.tar", GOOD)
    (tmp_path / "a.tar.index.npz" / "x").mkdir(parents=True)
    (tmp_path / "a.tar.index.npz").chmod(0o500)
    url = f"file://{path}"
    assert len(open_source(url)) == 2
    assert len([*(cache_folder / "partialfc").iterdir()]) == 1
    assert said(caplog) == 1
    assert len(open_source(url)) == 2
    assert said(caplog) == 0


def test_a_shard_that_changes_while_it_is_used_is_an_error(tmp_path):
    path = write_tar(tmp_path / "a.tar", GOOD)
    copy = pickle.dumps(open_source(path))
    write_tar(path, {"5.png": png(5), "5.cls": b"x"})
    with pytest.raises(DataError, match=r"a\.tar: was changed while it was in use"):
        pickle.loads(copy).read(0)


def test_only_so_many_files_are_open_at_a_time(tmp_path):
    for number in range(byte_files.AT_MOST_OPEN + 10):
        write_tar(tmp_path / f"{number:03d}.tar", {"1.png": png(number), "1.cls": b"0"})
    source = open_source(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    order = np.random.default_rng(0).integers(len(source), size=300).tolist()
    assert all(source.read(index)[0] == png(index) for index in order)
    assert len(os.listdir("/proc/self/fd")) - before <= byte_files.AT_MOST_OPEN


def test_any_file_system_of_fsspec_serves(tmp_path):
    """One in memory, whose files change, and one that copies shards to this machine first."""
    memory = fsspec.filesystem("memory")
    data = write_tar(tmp_path / "a.tar", GOOD).read_bytes()
    memory.pipe("/bucket/s-0.tar", data)
    try:
        assert open_source("memory://bucket/s-*.tar").read(0)[0] == png(1)
        cached = f"simplecache::file://{tmp_path}/*.tar"
        assert open_source(cached).read(1) == (png(2), 1)
        memory.pipe(
            "/bucket/s-0.tar", write_tar(tmp_path / "b.tar", {"9.png": png(9), "9.cls": b"x"}).read_bytes()
        )
        assert open_source("memory://bucket/s-0.tar").read(0)[0] == png(9)
        with pytest.raises(DataError, match=r"memory://bucket/none\.tar: does not exist"):
            open_source("memory://bucket/none.tar")
    finally:
        memory.rm("/bucket", recursive=True)


def test_files_beside_class_folders_are_not_taken_for_all(tmp_path):
    """As where the tar file lies there yet from which the folders came."""
    put(tmp_path, "cat/1.png")
    assert len(open_source(tmp_path)) == 1
    write_tar(tmp_path / "images.tar", GOOD)
    with pytest.raises(DataError, match=r"images\.tar, and folders, such as .*cat; move one .*: .*/\*\.tar"):
        open_source(tmp_path)
    assert len(open_source(tmp_path / "*.tar")) == 2
    with pytest.raises(DataError, match="only image folders have one"):
        open_source(tmp_path / "*.tar", class_depth=2)


def test_a_shard_takes_20_bytes_an_image_and_its_name(tmp_path):
    sizes = []
    for count in (100, 1100):
        members = {}
        for number in range(count):
            members |= {f"{number:04d}.png": b"x", f"{number:04d}.cls": b"0"}
        sizes.append(len(pickle.dumps(open_source(write_tar(tmp_path / "a.tar", members)))))
    assert sizes[1] - sizes[0] <= 1000 * (20 + len("0000.png")) + 16


class Troubled(MemoryFileSystem):
    """A store in memory that gives whole files only, or that fails before it answers."""

    protocol = "troubled"
    whole = False
    failures = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("troubled://"))

    def cat_file(self, path, start=None, end=None, **how):
        if type(self).failures:
            type(self).failures -= 1
            raise ConnectionError("reset by peer")
        return super().cat_file(path, None if self.whole else start, None if self.whole else end, **how)


@pytest.fixture
def troubled(tmp_path, monkeypatch):
    """A shard there, opened."""
    monkeypatch.setattr(byte_files, "PAUSES", (0.0, 0.0))
    fsspec.register_implementation("troubled", Troubled, clobber=True)
    Troubled().pipe("/s.tar", write_tar(tmp_path / "a.tar", GOOD).read_bytes())
    yield open_source("troubled://s.tar")
    Troubled().rm("/s.tar")


def test_a_store_that_fails_is_asked_again(troubled, monkeypatch, caplog):
    monkeypatch.setattr(Troubled, "failures", 2)
    assert troubled.read(0)[0] == png(1)
    assert sum("reset by peer; trying again" in record.getMessage() for record in caplog.records) == 2
    monkeypatch.setattr(Troubled, "failures", 3)
    with pytest.raises(DataError, match=r"s\.tar: cannot be read: ConnectionError: reset by peer"):
        troubled.read(0)


def test_a_server_that_gives_whole_files_only_is_told(troubled, monkeypatch):
    monkeypatch.setattr(Troubled, "whole", True)
    with pytest.raises(ConfigError, match=r"s\.tar: its server gives whole files only"):
        troubled.read(0)
    with pytest.raises(ConfigError, match=r"s\.tar: its server gives whole files only"):
        statistics_of(troubled, workers=0)


def test_a_url_that_nothing_here_reads_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"nosuch://x/a\.tar: "):
        open_source("nosuch://x/a.tar")
    with pytest.raises(DataError, match=r"file:///x/a\.csv: a URL or a pattern may name \.tar or \.parquet"):
        open_source("file:///x/a.csv")
