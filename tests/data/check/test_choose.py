"""Images to look at: at random by a seed, of the classes that are named."""

from pathlib import Path

import pytest

from partialfc.data.check.choose import choose_images
from partialfc.data.sources.pack import pack_source
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError
from tests.data.sources.cases import put


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path / "in", *(f"{name}/{n}.png" for name in ("ant", "bee", "cat") for n in range(10)))


def test_images_are_drawn_by_the_seed_once_each_in_order(folder: Path) -> None:
    source = open_source(folder)
    first, again, other = (choose_images(source, count=12, seed=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert first == sorted(set(first))
    assert len(first) == 12
    assert choose_images(source, count=99, seed=0).tolist() == list(range(30))


def test_classes_are_named_or_numbered_where_they_have_no_names(folder: Path, tmp_path: Path) -> None:
    source = open_source(folder)
    assert choose_images(source, count=99, seed=0, classes=["cat", "ant"]).tolist() == [
        *range(10),
        *range(20, 30),
    ]
    for name, hint in (("ent", "did you mean 'ant'"), ("0", "its names are such as 'ant'")):
        with pytest.raises(DataError, match=rf"no class '{name}'; {hint}"):
            choose_images(source, count=1, seed=0, classes=[name])
    packed = pack_source(folder, tmp_path / "out").path
    packed.with_name("classes.txt").unlink()
    unnamed = open_source(packed)
    assert choose_images(unnamed, count=99, seed=0, classes=["2"]).tolist() == list(range(20, 30))
    for name in ("3", "ant", "-1"):
        with pytest.raises(
            DataError, match=rf"no class '{name}'; its classes have no names, but ids, 0\.\.2"
        ):
            choose_images(unnamed, count=1, seed=0, classes=[name])


def test_a_class_without_images_is_an_error(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="empty have no image"):
        choose_images(open_source(folder), count=1, seed=0, classes=["empty"])
