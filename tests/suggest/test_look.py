"""What is seen of images: counts, sizes, colour; of damaged, huge and very many ones too."""

import numpy as np
import pytest

from partialfc.data.images.codec import encode_jpeg, encode_png
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError, ImageError
from partialfc.suggest.look import MOST_LABELS, is_grey, labels_of, look_at
from tests.suggest.cases import picture, write_images


def look(path):
    source = open_source(path)
    return look_at(source, labels_of(source))


def test_counts_sizes_and_colour(tmp_path):
    write_images(tmp_path, 3, 4, side=(12, 20))
    write_images(tmp_path, 2, 1, side=(30, 30), first=3)
    seen = look(tmp_path)
    assert (seen.images, seen.classes, seen.per_class, seen.counted) == (14, 5, (1, 4, 4), True)
    assert seen.sides == (15, 15, 30)
    assert seen.grey
    assert seen.some_grey
    assert seen.bad == 0


@pytest.mark.parametrize("encode", [encode_png, encode_jpeg], ids=["png", "jpeg"])
def test_an_image_is_grey_by_its_pixels_and_not_by_its_format(encode):
    grey = picture(0, side=(32, 32))
    colour = np.dstack([grey, grey, 255 - grey])
    assert is_grey(encode(grey))
    assert is_grey(encode(np.dstack([grey] * 3)))
    assert not is_grey(encode(colour))


def test_grey_and_colour_mixed_is_colour(tmp_path):
    write_images(tmp_path, 2, 3)
    write_images(tmp_path, 2, 3, channels=3, first=2)
    seen = look(tmp_path)
    assert not seen.grey
    assert seen.some_grey


def test_damaged_images_are_counted_and_named(tmp_path):
    write_images(tmp_path, 3, 3)
    (tmp_path / "class-001" / "1.png").write_bytes(b"nothing")
    seen = look(tmp_path)
    assert seen.bad == 1
    assert seen.bad_name.endswith("class-001/1.png")
    assert seen.images == 9


def test_nothing_but_damaged_images_is_an_error(tmp_path):
    write_images(tmp_path, 2, 2)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(
        ImageError, match=r"class-000/0\.png: cannot be decoded, nor can any other of 4 images"
    ):
        look(tmp_path)


class Large:
    """A source of very many images, each of which it makes when it is read."""

    empty_classes = 0
    origin = "large.rec"

    def __init__(self, images, classes):
        self.images, self.num_classes, self.read_ones = images, classes, set()

    def __len__(self):
        return self.images

    def read(self, index):
        self.read_ones.add(index)
        return encode_png(picture(0)), index * self.num_classes // self.images

    def name(self, index):
        return f"large.rec record {index}"

    def class_ids(self):
        raise AssertionError("reads every label")


@pytest.mark.parametrize(
    ("images", "classes"),
    [
        pytest.param(MOST_LABELS + 1, 1000, id="images"),
        pytest.param(20_000_000, 10_000_000, id="classes"),
    ],
)
def test_of_very_many_images_few_are_read_and_no_labels(images, classes):
    source = Large(images, classes)
    labels = labels_of(source)
    seen = look_at(source, labels)
    assert labels is None
    assert (seen.images, seen.classes, seen.counted) == (images, classes, False)
    assert seen.per_class == (images // classes,) * 3
    assert len(source.read_ones) <= 256
    assert max(source.read_ones) == images - 1


def test_huge_images_of_mixed_sizes(tmp_path):
    write_images(tmp_path, 2, 1, side=(900, 1600), encode=encode_jpeg)
    write_images(tmp_path, 2, 2, side=(9, 9), first=2)
    seen = look(tmp_path)
    assert seen.sides == (9, 9, 1200)
    assert seen.headers == 6


def test_a_file_whose_records_are_all_damaged_says_so(tmp_path):
    class Damaged(Large):
        def class_ids(self):
            return np.full(self.images, -1)

    with pytest.raises(DataError, match="no record can be read"):
        look_at(Damaged(4, 2), np.full(4, -1))
