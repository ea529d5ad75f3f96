"""Some images of a source, by a file with their keys."""

import logging
import pickle
from pathlib import Path

import pytest

from partialfc.data.sources.keys import as_key, read_keys, write_keys
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.pack import pack_source
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError
from tests.data.sources.cases import png, put

NAMES = ("ant/1.png", "ant/2.png", "bee/1.png", "cat/1.png", "cat/in/2.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path / "images", *NAMES)


def keys_file(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def content(source: Labelled) -> list[tuple[str, bytes, int]]:
    """Key, image and class id of each, by every way that there is to ask for them."""
    found = [(source.key(index), *source.read(index)) for index in range(len(source))]
    assert [source.class_id(index) for index in range(len(source))] == [label for *_, label in found]
    assert source.class_ids().tolist() == [label for *_, label in found]
    assert [*source.each_key()] == [key for key, *_ in found]
    return found


def test_a_folder_has_the_paths_as_keys(folder):
    assert [key for key, *_ in content(open_source(folder))] == [*NAMES]


def test_a_record_file_has_its_own_keys(folder, tmp_path):
    source = open_source(pack_source(folder, tmp_path / "packed").path)
    assert [key for key, *_ in content(source)] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "records"])
@pytest.mark.parametrize(
    ("option", "taken"),
    [
        pytest.param("only", [0, 1, 4], id="only"),
        pytest.param("leave_out", [0, 1, 4], id="leave out"),
    ],
)
def test_what_a_file_names_is_taken_or_left_out_and_classes_are_numbered_anew(
    folder, tmp_path, packed, option, taken
):
    path = pack_source(folder, tmp_path / "packed").path if packed else folder
    whole = open_source(path)
    named = taken if option == "only" else sorted({*range(5)} - {*taken})
    chosen = keys_file(tmp_path, *(f"{whole.key(index)}\twhy: a comment" for index in reversed(named)))
    source = open_source(path, **{option: chosen})
    expected = zip(taken, [0, 0, 1], strict=True)
    assert content(source) == [(whole.key(at), png(at), label) for at, label in expected]
    assert source.classes == ["ant", "cat"]
    assert source.num_classes == source.least_classes == 2
    assert [source.name(at) for at in range(3)] == [whole.name(at) for at in taken]
    assert content(pickle.loads(pickle.dumps(source))) == content(source)
    with pytest.raises(IndexError):
        source.read(3)


def test_both_files_together_take_what_the_second_does_not_name(folder, tmp_path):
    only = keys_file(tmp_path, *NAMES[:3])
    (tmp_path / "bad.txt").write_text("ant/2.png")
    source = open_source(folder, only=only, leave_out=tmp_path / "bad.txt")
    assert [key for key, *_ in content(source)] == ["ant/1.png", "bee/1.png"]


def test_a_class_without_a_name_is_known_by_its_old_id(folder, tmp_path):
    packed = pack_source(folder, tmp_path / "packed").path
    packed.with_name("classes.txt").unlink()
    assert open_source(packed).classes is None
    assert open_source(packed, leave_out=keys_file(tmp_path, "3")).classes == ["0", "2"]


def test_an_earlier_run_keeps_its_ids_when_more_is_left_out(folder, tmp_path):
    source = open_source(folder, only=keys_file(tmp_path, "cat/1.png"), classes=["ant", "bee", "cat"])
    assert [label for *_, label in content(source)] == [2]
    assert source.classes == ["ant", "bee", "cat"]
    assert source.num_classes == 3
    with pytest.raises(DataError, match=r"class 'bee' is not among the 1 known classes"):
        open_source(folder, leave_out=keys_file(tmp_path, "ant/1.png"), classes=["ant"])


def test_a_file_that_names_what_is_not_there_is_an_error(folder, tmp_path):
    path = keys_file(tmp_path, "ant/1.png", "", "ant/9.png", "x")
    for option in ("only", "leave_out"):
        with pytest.raises(DataError, match=r"line 3: .* no image 'ant/9.png' \(2 such keys\)"):
            open_source(folder, **{option: path})


def test_an_empty_file_leaves_nothing_out_and_takes_nothing(folder, tmp_path):
    """A check that finds nothing writes one."""
    path = keys_file(tmp_path, "", "\tcomment")
    assert content(open_source(folder, leave_out=path)) == content(open_source(folder))
    with pytest.raises(DataError, match=r"names no image; write a key a line, such as 'ant/1\.png'"):
        open_source(folder, only=path)


def test_leaving_nothing_and_a_missing_file_are_errors(folder, tmp_path):
    with pytest.raises(DataError, match=r"keys\.txt: no image of .*images is left"):
        open_source(folder, leave_out=keys_file(tmp_path, *NAMES))
    with pytest.raises(DataError, match=r"none\.txt: cannot be read: No such file"):
        open_source(folder, only=tmp_path / "none.txt")


def test_odd_file_names_have_keys_that_a_line_can_hold(tmp_path):
    names = ("a\tb/1\n.png", "a\\tb/1.png", "blank /1 .png", "caf\udce9/1.png", "x/\r.png", "x/\u2028.png")
    source = open_source(put(tmp_path / "images", *names))
    path = tmp_path / "keys.txt"
    write_keys(path, ((key, "why") for key in source.each_key()))
    assert [key for _, key in read_keys(path)] == [*source.each_key()]
    assert len({*source.each_key()}) == len(names)
    assert len(content(open_source(tmp_path / "images", only=path))) == len(names)
    assert as_key("a\tb\\") == r"a\tb\\"


def test_packing_takes_the_rest_alone(folder, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    pack_source(folder, tmp_path / "packed", leave_out=keys_file(tmp_path, "bee/1.png"))
    assert (tmp_path / "packed/classes.txt").read_text() == "ant\ncat\n"
    assert not any("have no image" in record.getMessage() for record in caplog.records)


def test_a_comment_stays_on_its_line(tmp_path):
    write_keys(tmp_path / "keys.txt", [("a", "labelled two\nlines\r\x1b[31m"), ("b", "\n"), ("c", "")])
    written = (tmp_path / "keys.txt").read_text()
    assert written == "a\tlabelled two lines \N{REPLACEMENT CHARACTER}[31m\nb\nc\n"
    assert [*read_keys(tmp_path / "keys.txt")] == [(1, "a"), (2, "b"), (3, "c")]
