"""What is the tables' own: parquet files, and folders that Hugging Face's library wrote."""

import logging
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from partialfc.data.images.codec import decode
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError, ImageError, LabelError, MissingExtraError
from tests.data.sources.cases import png, put
from tests.data.sources.kinds import write_parquet
from tests.paths import HUGGING_FACE


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A copy, as an index is kept beside a file."""
    return shutil.copytree(HUGGING_FACE, tmp_path / "real")


@pytest.mark.parametrize(
    "path",
    ["saved", "saved_splits/train", "hub/data/train-*.parquet", "hub/data/train-0000{0..1}-of-00002.parquet"],
)
def test_what_the_library_wrote_is_read(real, path):
    """The README beside the files says what they hold."""
    source = open_source(real / path)
    assert source.classes == ["cat", "ant", "bee"]
    assert source.class_ids().tolist() == [number % 3 for number in range(7)]
    shades = [decode(source.read(index)[0]).max() for index in range(7)]
    assert shades == [*range(7)]
    assert source.remarks == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("saved_splits", r"splits train, test; name one: .*/train or"),
        ("hub", r"several splits, test, train; .*/test-\*\.parquet"),
    ],
)
def test_of_several_splits_one_must_be_named(real, path, says):
    with pytest.raises(DataError, match=says):
        open_source(real / path)


def test_an_image_is_read_without_pyarrow_once_the_source_is_open(real):
    source = open_source(real / "hub/data/train-*.parquet")
    images = [source.read(index)[0] for index in range(7)]
    raw = b"".join(path.read_bytes() for path in sorted(real.glob("hub/data/train-*.parquet")))
    assert all(image in raw for image in images)


def test_without_pyarrow_the_message_says_what_to_install(real, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"need pyarrow: pip install 'partialfc\[parquet\]'"):
        open_source(real / "saved")


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        pytest.param({}, True, id="as it is"),
        pytest.param({"data_page_size": 100}, True, id="many pages"),
        pytest.param({"data_page_version": "2.0", "row_group_size": 7}, True, id="second version of pages"),
        pytest.param({"compression": "snappy"}, False, id="compressed"),
        pytest.param({"use_dictionary": True}, False, id="by a dictionary"),
        pytest.param({"column_encoding": {"image": "DELTA_LENGTH_BYTE_ARRAY"}}, False, id="lengths apart"),
    ],
)
def test_every_way_to_write_a_file(tmp_path, how, kept, caplog):
    caplog.set_level(logging.INFO)
    images = [png(n % 5, 8 + n % 3) for n in range(30)]
    columns = {"image": images, "label": [n % 4 for n in range(30)], "image_id": [*range(30)]}
    path = write_parquet(tmp_path / "a.parquet", columns, **how)
    for times in (1, 1):
        source = open_source(path)
        order = np.random.default_rng(0).permutation(30).tolist()
        assert [source.read(index) for index in order] == [(images[n], n % 4) for n in order]
        assert bool(source.remarks) != kept
        assert sum("reading where its images lie" in r.getMessage() for r in caplog.records) == times


def test_a_url_of_a_parquet_file(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"png": [png(1), png(2)], "cls": ["b", "a"]})
    source = open_source(f"file://{path}")
    assert [source.read(index) for index in range(2)] == [(png(1), 1), (png(2), 0)]
    assert [*source.each_key()] == ["a.parquet/0", "a.parquet/1"]
    assert source.name(1) == f"file://{path} row 1"


STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.mark.parametrize(
    ("columns", "error", "says"),
    [
        pytest.param(
            {"label": [1]},
            DataError,
            "it has the columns label; call it 'image'",
            id="no image",
        ),
        pytest.param({"a": [b"x"], "b": [b"y"], "label": [1]}, DataError, "any of a, b", id="two images"),
        pytest.param(
            {"image": [b"x"], "year": [1]},
            DataError,
            "holds the labels: it has .*; call it 'label'",
            id="no label",
        ),
        pytest.param(
            {"image": [b"x", b"y"], "label": [1, None]}, LabelError, "1 rows have no", id="null label"
        ),
        pytest.param({"image": [b"x"], "label": [-1]}, LabelError, "label -1", id="negative"),
        pytest.param(
            {"image": pa.array([{"bytes": None, "path": "a.png"}], STRUCT), "label": [1]},
            DataError,
            "row 0 holds no image; where it has only paths",
            id="path alone",
        ),
    ],
)
def test_columns_that_are_refused(tmp_path, columns, error, says):
    with pytest.raises(error, match=rf"a\.parquet.*{says}"):
        open_source(write_parquet(tmp_path / "a.parquet", columns))


def test_names_of_classes_cover_all_labels(real):
    """A split without labels has -1."""
    from tests.data.sources.kinds import dataset

    table = dataset([("ant", png(1)), ("cat", png(2))])
    table = table.set_column(1, "label", pa.array([0, -1]))
    with pytest.raises(LabelError, match=r"label -1 of image 1: classes have names for 0\.\.2"):
        open_source(write_parquet(real / "a.parquet", table))


def test_files_that_disagree_are_refused(tmp_path):
    write_parquet(tmp_path / "a.parquet", {"image": [b"x"], "label": [1]})
    write_parquet(tmp_path / "b.parquet", {"image": [b"x"], "label": ["1"]})
    with pytest.raises(DataError, match=r"b\.parquet: its labels have other names or another type"):
        open_source(tmp_path)


def test_an_empty_image_is_a_bad_image(tmp_path):
    for how in ({}, {"compression": "snappy"}):
        source = open_source(
            write_parquet(tmp_path / "a.parquet", {"image": [b"", png(1)], "label": [1, 1]}, **how)
        )
        with pytest.raises(ImageError, match=r"a\.parquet row 0: the image is empty"):
            source.read(0)
        assert source.read(1)[0] == png(1)


@pytest.mark.parametrize("size", [0, 300, 1000, 1188])
def test_an_arrow_file_that_was_cut_is_an_error(real, size):
    """Also where only the mark at its end is missing."""
    path = real / "saved/data-00000-of-00002.arrow"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"data-00000-of-00002\.arrow: .*copy it again"):
        open_source(real / "saved")


def test_arrows_format_with_a_footer_and_a_compressed_one(tmp_path):
    table = pa.table({"image": [png(1), png(2)], "label": ["a", "b"]})
    for name, options in (("a", None), ("b", pa.ipc.IpcWriteOptions(compression="zstd"))):
        with pa.ipc.new_file(tmp_path / f"{name}.arrow", table.schema, options=options) as file:
            file.write_table(table)
    assert open_source(tmp_path / "a.arrow").read(1) == (png(2), 1)
    with pytest.raises(DataError, match=r"b\.arrow: is compressed"):
        open_source(tmp_path / "b.arrow")


def test_a_table_takes_16_bytes_an_image(tmp_path):
    sizes = []
    for count in (100, 1100):
        path = write_parquet(tmp_path / "a.parquet", {"image": [b"x"] * count, "label": [1] * count})
        sizes.append(len(pickle.dumps(open_source(path))))
    assert sizes[1] - sizes[0] <= 1000 * 16 + 16


def test_an_image_folder_may_hold_other_listings(tmp_path):
    put(tmp_path, "cat/1.png")
    (tmp_path / "state.json").write_text("{}")
    assert len(open_source(tmp_path)) == 1


def test_damaged_listings_are_errors(real):
    (real / "saved/state.json").write_text("{")
    with pytest.raises(DataError, match=r"state\.json: is damaged"):
        open_source(real / "saved")
    (real / "saved_splits/train/data-00000-of-00001.arrow").unlink()
    with pytest.raises(DataError, match=r"data-00000-of-00001\.arrow: cannot be opened: No such file"):
        open_source(real / "saved_splits/train")
