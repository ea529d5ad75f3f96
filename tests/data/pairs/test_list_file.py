"""Lists of one's own images."""

from pathlib import Path

import pytest

from partialfc.data.pairs.files import read_pairs
from partialfc.errors import PairsError
from tests.data.pairs.cases import A, B, C, D, write


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    (tmp_path / "people").mkdir()
    for name, data in (("a.jpg", A), ("b.jpg", B), ("people/c c.png", C), ("people/d,d.png", D)):
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "images", "same"),
    [
        ("a.jpg b.jpg 1\nb.jpg\t a.jpg  0\n", [A, B, B, A], [True, False]),
        ("# mine\n\n  # indented\na.jpg   b.jpg 1", [A, B], [True]),
        ("a.jpg,people/c c.png,0\r\na.jpg, b.jpg, 1\r\n", [A, C, A, B], [False, True]),
        ('a.jpg,"people/d,d.png",1\n', [A, D], [True]),
        ("people/c c.png\tpeople/d,d.png\t0\n", [C, D], [False]),
        ("\ufeffa.jpg b.jpg 1\n", [A, B], [True]),
    ],
)
@pytest.mark.parametrize("name", ["pairs.txt", "pairs.CSV", "pairs.tsv"])
def test_reads_lists(gallery: Path, text: str, images: list[bytes], same: list[bool], name: str) -> None:
    pairs = read_pairs(write(gallery, text.encode(), name))
    assert pairs.images == images
    assert pairs.same.tolist() == same


def test_lists_take_absolute_paths(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    line = f"{gallery / 'a.jpg'} {gallery / 'b.jpg'} 1"
    assert read_pairs(write(tmp_path_factory.mktemp("other"), line.encode(), "p.txt")).images == [A, B]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"a.jpg b.jpg 1\na.jpg b.jpg\n", "line 2: .*must be path_a, path_b"),
        (b"# one\na.jpg b.jpg x.jpg 1\n", "line 2: .*must be"),
        (b"a.jpg b.jpg 2\n", "line 1: 'a.jpg b.jpg 2' must be"),
        (b"path_a,path_b,same\n", "line 1: .*same"),
        (b"a.jpg b.jpg 1\n\nno.jpg b.jpg 1\n", r"line 3: cannot read .*no\.jpg"),
        (b"people b.jpg 1\n", "line 1: cannot read"),
        (b"a.jpg,,1\n", "line 1"),
        (b'"a.jpg,b.jpg,1\n', "line 1"),
        (b"a.jpg b.jpg 1\na\xff.jpg b.jpg 1\n", "line 2: not UTF-8"),
        (b"# nothing\n", "no pairs"),
        (b"", "no pairs"),
    ],
)
def test_list_errors_name_the_line(gallery: Path, text: bytes, match: str) -> None:
    path = write(gallery, text, "pairs.txt")
    with pytest.raises(PairsError, match=match) as caught:
        read_pairs(path)
    assert str(path) in str(caught.value)
