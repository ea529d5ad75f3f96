"""What is a list's own: its lines, and what is wrong with them."""

import os
import pickle
from pathlib import Path

import pytest

from partialfc.data.sources.source import open_source
from partialfc.data.sources.text_list import ListSource
from partialfc.errors import DataError, LabelError
from tests.data.sources.cases import png, put


def listing(tmp_path: Path, text: str | bytes) -> Path:
    """A list beside ten images, 0.png, 1.png, ..., and some with odd names."""
    put(tmp_path, *(f"{n}.png" for n in range(10)), "a b.png", "caf\udce9.png", "sub/x.png")
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "keys", "labels", "classes"),
    [
        pytest.param("0.png 0\n1.png 2\n", ["0.png", "1.png"], [0, 2], None, id="ids"),
        pytest.param("0.png 007\n1.png 1.0\n", ["0.png", "1.png"], [7, 1], None, id="ids of other programs"),
        pytest.param(
            "0.png ä\n1.png b", ["0.png", "1.png"], [1, 0], ["b", "ä"], id="names, no last line break"
        ),
        pytest.param(
            "0.png 10\n1.png b\n", ["0.png", "1.png"], [0, 1], ["10", "b"], id="one name makes all names"
        ),
        pytest.param(
            "a b.png x\nsub/x.png x\n", ["a b.png", "sub/x.png"], [0, 0], ["x"], id="blank in a path"
        ),
        pytest.param("a b.png\tx y\n", ["a b.png"], [0], ["x y"], id="tab, and a blank in a name"),
        pytest.param(
            "0.png   x  \r\n\r\n  \n1.png x\r\n", ["0.png", "1.png"], [0, 0], ["x"], id="Windows and blanks"
        ),
        pytest.param(
            b"\xef\xbb\xbf0.png x\n1.png x\n", ["0.png", "1.png"], [0, 0], ["x"], id="byte order mark"
        ),
        pytest.param(b"caf\xe9.png x\n", ["caf\udce9.png"], [0], ["x"], id="a path that is not UTF-8"),
    ],
)
def test_lines(tmp_path, text, keys, labels, classes):
    source = open_source(listing(tmp_path, text))
    assert [*source.each_key()] == keys
    assert [source.key(index) for index in range(len(source))] == keys
    assert source.class_ids().tolist() == labels
    assert source.classes == classes
    assert all(source.read(index)[0] for index in range(len(source)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("0.png x\n\n1.png\n", r"line 3: '1\.png' is not `path label`", id="no label"),
        pytest.param("0\t1\t0.png\n", r"line 1: .* with a tab between them", id="MXNet's three columns"),
        pytest.param("0.png,x\n", r"line 1: '0\.png,x' is not `path label`", id="commas"),
        pytest.param(
            "path label\n0.png x\n", r"line 1 of .*path does not exist; remove .* a header", id="header"
        ),
        pytest.param(
            "z/0.png x\nz/1.png x\n", r"nor do others; paths are relative to .* \(data\.root\)", id="root"
        ),
        pytest.param("0.png a\n1.png a\n\n0.png b\n", r"lines 1 and 4: '0\.png' is listed twice", id="twice"),
        pytest.param("", "lists no image", id="empty"),
        pytest.param("\n \n", "lists no image", id="blank"),
        pytest.param("0.png x\n".encode("utf-16"), "line 1: holds a zero byte", id="UTF-16"),
    ],
)
def test_lines_that_are_refused(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        open_source(listing(tmp_path, text))


@pytest.mark.parametrize(
    ("label", "says"), [("-1", "label -1:"), ("1.5", "label 1.5:"), ("9" * 20, "below 2")]
)
def test_numbers_that_are_no_class_ids_are_refused(tmp_path, label, says):
    with pytest.raises(LabelError, match=says):
        open_source(listing(tmp_path, f"0.png 1\n1.png {label}\n"))


def test_absolute_paths_and_a_root(tmp_path):
    images = put(tmp_path / "images", "0.png", "1.png")
    path = tmp_path / "list.tsv"
    path.write_text(f"{images}/0.png\ta\n1.png\ta\n")
    source = open_source(path, root=images)
    assert [source.read(index)[0] for index in range(2)] == [png(0), png(1)]
    assert [*source.each_key()] == [f"{images}/0.png", "1.png"]
    with pytest.raises(DataError, match="only text lists have one"):
        open_source(images, root=images)
    with pytest.raises(DataError, match="only image folders have one"):
        open_source(path, class_depth=2)


def test_an_image_that_is_gone_is_named_with_its_line(tmp_path):
    source = open_source(listing(tmp_path, "\n".join(f"{n}.png x" for n in range(10))))
    (tmp_path / "7.png").unlink()
    with pytest.raises(DataError, match=r"7\.png: cannot be read: No such file .* \(line 8 of .*list\.txt\)"):
        source.read(7)
    assert len(open_source(tmp_path / "list.txt")) == 10


def test_a_list_that_changes_while_it_is_used_is_an_error(tmp_path):
    source = open_source(listing(tmp_path, "0.png x\n1.png x\n"))
    copy = pickle.dumps(source)
    (tmp_path / "list.txt").write_text("1.png x\n")
    with pytest.raises(DataError, match="was changed while it was in use"):
        pickle.loads(copy).read(0)


def test_a_list_takes_12_bytes_an_image(tmp_path):
    sizes = []
    for lines in (1000, 3000):
        path = listing(tmp_path, "".join(f"some/folder/{n}.png {n % 7}\n" for n in range(lines)))
        put(tmp_path, "some/folder/0.png")
        os.truncate(path, path.stat().st_size)
        sizes.append(len(pickle.dumps(ListSource(path))))
    assert sizes[1] - sizes[0] < 2000 * 12.1
