"""Image files without classes."""

import pickle

import pytest

from partialfc.data.sources.loose import LooseSource, loose_folder
from partialfc.errors import DataError
from partialfc.serving.images import open_images
from tests.data.sources.cases import png, put


def test_a_folder_with_images_in_itself_has_no_classes(tmp_path):
    put(tmp_path, "b.png", "a.png", "more/deep/c.png", "more/d.png", ".hidden.png", "notes.txt")
    opened = open_images([str(tmp_path)])
    assert [*opened.source.each_key()] == ["a.png", "b.png", "more/d.png", "more/deep/c.png"]
    assert opened.source.name(3) == str(tmp_path / "more/deep/c.png")
    assert [opened.class_name(index) for index in range(4)] == [""] * 4
    assert opened.source.class_ids().tolist() == [0] * 4
    again = pickle.loads(pickle.dumps(opened.source))
    assert again.read(2) == ((tmp_path / "more/d.png").read_bytes(), 0)


def test_class_folders_have_classes(tmp_path):
    put(tmp_path, "b/1.png", "a/1.png")
    opened = open_images([str(tmp_path)])
    assert [opened.class_name(index) for index in range(2)] == ["a", "b"]


def test_images_that_are_named_come_in_that_order(tmp_path):
    put(tmp_path, "b.png", "a.JPG")
    names = [str(tmp_path / "b.png"), str(tmp_path / "a.JPG")]
    assert [*open_images(names).source.each_key()] == names


def test_some_of_them_may_be_taken(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "bad.txt").write_text("b.png\n")
    opened = open_images([str(tmp_path)], leave_out=tmp_path / "bad.txt")
    assert [*opened.source.each_key()] == ["a.png", "c.png"]
    assert opened.class_name(1) == ""


def test_a_name_with_a_line_break_is_a_key_of_one_line(tmp_path):
    (tmp_path / "a\nb\t.png").write_bytes(png(1))
    assert loose_folder(tmp_path).key(0) == "a\\nb\\t.png"


def test_what_cannot_be_used_is_named(tmp_path):
    put(tmp_path, "a.png", "set/x/1.png")
    one, folder = str(tmp_path / "a.png"), str(tmp_path / "set")
    with pytest.raises(DataError, match=r"a\.png: is named twice"):
        open_images([one, one])
    with pytest.raises(DataError, match=r"a\.png is an image and .*set is none"):
        open_images([one, folder])
    with pytest.raises(DataError, match=r"no\.png: does not exist"):
        open_images([str(tmp_path / "no.png")])
    with pytest.raises(DataError, match="no_folder: does not exist"):
        open_images([str(tmp_path / "no_folder")])
    with pytest.raises(DataError, match="takes no class_depth"):
        open_images([one], class_depth=2)
    with pytest.raises(DataError, match="root is"):
        open_images([one], root=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        loose_folder(tmp_path / "empty")
    with pytest.raises(DataError, match=r"gone\.png: cannot be read"):
        LooseSource(["gone.png"], origin="x", folder=tmp_path).read(0)
