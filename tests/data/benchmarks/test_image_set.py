"""Sets of images: names that are joined, noise lists, groups, and layouts that are not as published."""

import logging

import numpy as np
import pytest

from partialfc.data.benchmarks.groups import read_groups
from partialfc.data.benchmarks.image_set import NOBODY, ImageSet, files_below, joined, of_files, of_source
from partialfc.data.benchmarks.noise import without_noise
from partialfc.data.benchmarks.products import read_in_shop, read_online_products
from partialfc.data.benchmarks.tinyface import PARTS, read_tinyface, tinyface_folder
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError
from tests.train_cases import write_data


def files(folder, *names: str) -> ImageSet:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return of_files(folder, names, [name.split("/")[0] for name in names])


def test_equal_names_are_one_identity(tmp_path):
    first = files(tmp_path / "a", "x/1.png", "y/1.png", "x/2.png")
    second = files(tmp_path / "b", "z/1.png", "y/1.png")
    labels = joined(first, second, second.strangers())
    assert [each.tolist() for each in labels] == [[0, 1, 0], [2, 1], [NOBODY, NOBODY]]
    assert [second[0], *second[:]] == [b"z/1.png", b"z/1.png", b"y/1.png"]


def test_names_and_numbers_are_not_joined(tmp_path):
    numbers = of_source(open_source(write_data(tmp_path)))
    named = files(tmp_path / "a", "x/1.png")
    with pytest.raises(DataError, match=r"has names of its classes and .*train\.rec only numbers"):
        joined(named, numbers)
    assert joined(named, numbers.strangers())[1].tolist() == [NOBODY] * len(numbers)


def test_an_image_that_is_gone_is_named(tmp_path):
    images = files(tmp_path, "x/1.png")
    (tmp_path / "x" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png: cannot be read"):
        images[0]


def test_noise_lists_name_a_file_or_the_end_of_a_path(tmp_path, caplog):
    images = files(tmp_path / "i", "a/b/1.png", "a/c/1.png", "a/c/2.png", "d/e/3.png")
    (tmp_path / "list").write_text("# these\n2.png\n17\tb/1.png\n\nx/3.png\n")
    with caplog.at_level(logging.INFO):
        kept = without_noise(images, [tmp_path / "list"])
    assert list(kept.keys()) == ["a/c/1.png", "d/e/3.png"]
    assert kept.labels.tolist() == [0, 1]
    assert kept[1] == b"d/e/3.png"
    assert "2 of 4 images are left out by noise lists, 2 of whose 3 lines name one" in caplog.text
    (tmp_path / "all").write_text("1.png\n2.png\n3.png\n")
    with pytest.raises(DataError, match="none of its 4 images is left"):
        without_noise(images, [tmp_path / "all"])
    with pytest.raises(DataError, match="nowhere: cannot be read"):
        without_noise(images, [tmp_path / "nowhere"])
    assert without_noise(images, []) is images


def test_groups_of_keys(tmp_path):
    images = files(tmp_path / "i", "a/1.png", "b/1.png")
    (tmp_path / "groups").write_text("b/1.png\told\n\n# more\na/1.png\tyoung \nb/1.png\tyoung\n")
    groups = read_groups(tmp_path / "groups", images)
    assert {name: np.flatnonzero(each).tolist() for name, each in groups.items()} == {
        "old": [1],
        "young": [0, 1],
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a/1.png old\n", "line 1: 'a/1.png old' must be an image's key, a tab and a group"),
        ("a/1.png\told\nc/1.png\told\n", "line 2: .* has no image 'c/1.png'; its keys are such as 'a/1.png'"),
        ("\n", "names no group"),
    ],
    ids=["no tab", "no such key", "empty"],
)
def test_groups_that_cannot_be_read(tmp_path, text, says):
    images = files(tmp_path / "i", "a/1.png")
    (tmp_path / "groups").write_text(text)
    with pytest.raises(DataError, match=says):
        read_groups(tmp_path / "groups", images)


def test_images_at_any_depth(tmp_path):
    files(tmp_path, "1.png", "b/c/2.JPG", "b/._2.png", "notes.txt")
    assert files_below(tmp_path) == ["1.png", "b/c/2.JPG"]
    with pytest.raises(DataError, match="holds no image"):
        files_below(tmp_path / "none")


def test_tinyface_names_identities(tmp_path):
    assert tinyface_folder(tmp_path) is None
    for part, name in zip(PARTS, ("7_1.png", "7_2.png", "stranger.png"), strict=True):
        files(tmp_path / part, name)
    assert tinyface_folder(tmp_path) == tmp_path
    probes, mates, strangers = read_tinyface(tmp_path)
    assert (probes.identities, mates.identities, strangers.labels.tolist()) == (["7"], ["7"], [NOBODY])
    files(tmp_path / "Probe", "nobody.png")
    with pytest.raises(DataError, match=r"nobody\.png: its name must be the identity, _ and more"):
        read_tinyface(tmp_path)


def test_lists_of_products_without_images(tmp_path):
    (tmp_path / "Ebay_test.txt").write_text("image_id class_id super_class_id path\n")
    with pytest.raises(DataError, match=r"Ebay_test\.txt: names no image"):
        read_online_products(tmp_path)
    listing = tmp_path / "list_eval_partition.txt"
    listing.write_text("1\nimage_name item_id evaluation_status\nimg/a.jpg id_1 gallery\n")
    with pytest.raises(DataError, match="has no image with the status query"):
        read_in_shop(tmp_path)
