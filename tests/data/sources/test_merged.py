"""Several sources together: which classes are the same, and what the images are called."""

from pathlib import Path

import pytest

from partialfc.data.sources.pack import pack_source
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError
from tests.data.sources.cases import put
from tests.data.sources.records import plain


def test_classes_of_the_same_name_are_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "a/faces", "cat/1.png", "eel/1.png")
    packed = pack_source(put(tmp_path / "b", "ant/1.png", "cat/1.png"), tmp_path / "packed").path
    put(tmp_path / "c/faces", "cat/2.png")
    with caplog.at_level("INFO"):
        source = open_source([tmp_path / "a/faces", packed, tmp_path / "c/faces"])
    said = "3 sources, and 1 of 3 classes are in several of them"
    assert f"{source.origin}: {said}" in caplog.messages
    assert [remark.says for remark in source.remarks if not remark.remedy] == [said]
    assert source.classes == ["ant", "cat", "eel"]
    assert source.class_ids().tolist() == [1, 2, 0, 1, 1]
    keys = ["faces/cat/1.png", "faces/eel/1.png", "train.rec/1", "train.rec/2", "faces#2/cat/2.png"]
    assert [*source.each_key()] == [source.key(index) for index in range(5)] == keys
    assert source.name(4) == f"{tmp_path}/c/faces/cat/2.png"


def test_without_names_no_class_is_anothers(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first, second = plain(tmp_path / "a.rec", 0, 2), plain(tmp_path / "b/b.rec", 1, 3)
    source = open_source([first, second, first])
    assert source.classes is None
    assert source.remarks[0].says.startswith("3 sources whose classes have no names, so none is another")
    assert source.class_ids().tolist() == [0, 2, 4, 6, 7, 9]
    assert source.num_classes == 10


def test_names_in_some_alone_are_an_error(tmp_path: Path) -> None:
    folder, records = put(tmp_path / "images", "cat/1.png"), plain(tmp_path / "a.rec", 0, 1)
    with pytest.raises(DataError, match=r"a\.rec: has no class names, but .*images has.*classes\.txt"):
        open_source([folder, records])
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert open_source([folder, records]).class_ids().tolist() == [0, 0, 1]


def test_no_source_and_one_that_is_not_there_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no source is named"):
        open_source([])
    with pytest.raises(DataError, match="none: does not exist"):
        open_source([put(tmp_path / "images", "cat/1.png"), tmp_path / "none"])
    assert [*open_source([tmp_path / "images"]).each_key()] == ["cat/1.png"]
