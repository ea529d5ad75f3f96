"""Whom the images of a pair list show."""

import numpy as np
import pytest

from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.files import PairSet, read_pairs, write_pairs
from partialfc.data.pairs.identities import connected


def picture(value: int) -> bytes:
    return encode_png(np.full((2, 2, 1), value, np.uint8))


def test_equal_images_are_one_and_genuine_pairs_join(tmp_path):
    images = [picture(v) for v in (1, 2, 2, 3, 1, 4, 5, 6)]
    same = np.array([True, True, False, False])
    expected = [[0, 0], [0, 0], [0, 1], [2, 3]]
    assert PairSet(images, same).identities.tolist() == expected
    write_pairs(tmp_path / "pairs.bin", PairSet(images, same))
    assert read_pairs(tmp_path / "pairs.bin").identities.tolist() == expected


@pytest.mark.parametrize("length", [1, 3000])
def test_a_long_chain_is_one_identity(length):
    images = [image for link in range(length) for image in (link, link + 1)]
    assert not connected(images, np.ones(length, bool)).any()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a/1.png b/1.png 0", "a/1.png a/2.png 1", "b/1.png b/2.png 1"], [[0, 1], [0, 0], [1, 1]]),
        (["a/1.png a/2.png 0", "a/1.png b/1.png 1", "b/1.png b/2.png 1"], [[0, 1], [0, 0], [0, 0]]),
    ],
    ids=["folders of identities", "folders of something else"],
)
def test_folders_of_a_list_are_identities_where_they_agree_with_its_flags(tmp_path, lines, expected):
    for number, name in enumerate(("a/1", "a/2", "b/1", "b/2")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(picture(number))
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert read_pairs(tmp_path / "list.txt").identities.tolist() == expected
