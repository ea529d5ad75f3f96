import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import PairSet
from partialfc.data.sources.insightface import write_source
from partialfc.data.sources.source import Source, open_source
from partialfc.errors import PairsError
from tests.data.sources.cases import put


class Numbered:
    """A Source whose images say which they are: `class/number`. Classes come interleaved."""

    def __init__(self, *sizes: int) -> None:
        self.num_classes = len(sizes)
        order = np.random.default_rng(0).permutation(sum(sizes))
        names = [(label, number) for label, size in enumerate(sizes) for number in range(size)]
        self.samples = [names[i] for i in order]

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> tuple[bytes, int]:
        label, number = self.samples[index]
        return f"{label}/{number}".encode(), label

    def name(self, index: int) -> str:
        return f"image {index}"


def _names(pairs: PairSet) -> list[tuple[str, str]]:
    names = [image.decode() for image in pairs.images]
    return list(zip(names[0::2], names[1::2], strict=True))


def _check(pairs: PairSet, count: int) -> None:
    names = _names(pairs)
    assert len(names) == count
    assert pairs.same.sum() == count // 2
    for (first, second), same in zip(names, pairs.same, strict=True):
        assert first != second
        assert (first.split("/")[0] == second.split("/")[0]) == same
    assert len({frozenset(pair) for pair in names}) == count


@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    pairs=st.integers(1, 20).map(lambda n: 2 * n),
    seed=st.integers(0, 5),
)
@settings(deadline=None, max_examples=200)
def test_pairs_are_right_and_distinct_or_refused(sizes: list[int], pairs: int, seed: int) -> None:
    genuine = sum(n * (n - 1) // 2 for n in sizes)
    impostor = sum(sizes) * (sum(sizes) - 1) // 2 - genuine
    if min(genuine, impostor) < pairs // 2:
        with pytest.raises(PairsError, match=f"make only {genuine if genuine < pairs // 2 else impostor}:"):
            make_pairs(Numbered(*sizes), pairs=pairs, seed=seed)
    else:
        _check(make_pairs(Numbered(*sizes), pairs=pairs, seed=seed), pairs)


def test_takes_every_pair_there_is() -> None:
    _check(make_pairs(Numbered(3, 2), pairs=8, seed=0), 8)  # all 4 genuine, 4 of 6 impostor
    _check(make_pairs(Numbered(2, 2, 1), pairs=4, seed=0), 4)


def test_large_classes_do_not_crowd_out_small_ones() -> None:
    pairs = make_pairs(Numbered(200, *[3] * 40), pairs=200, seed=0)
    genuine = Counter(a.split("/")[0] for (a, _), same in zip(_names(pairs), pairs.same, strict=True) if same)
    assert set(genuine.values()) <= {2, 3}
    assert len(genuine) == 41


def test_small_classes_give_what_they_have_and_large_ones_the_rest() -> None:
    pairs = make_pairs(Numbered(2, 20, 1, 3), pairs=40, seed=0)
    genuine = Counter(a.split("/")[0] for (a, _), same in zip(_names(pairs), pairs.same, strict=True) if same)
    assert genuine == {"0": 1, "3": 3, "1": 16}


def test_consecutive_folds_are_balanced() -> None:
    pairs = make_pairs(Numbered(*[10] * 20), pairs=600, seed=1)
    for block in np.array_split(pairs.same, 10):
        assert block.sum() == 30
    assert 100 < pairs.same[0::2].sum() < 200  # and yet they do not just alternate


def test_the_seed_decides() -> None:
    source = Numbered(*[5] * 8)
    one, again, other = (make_pairs(source, pairs=20, seed=seed) for seed in (1, 1, 2))
    assert one.images == again.images
    assert one.same.tolist() == again.same.tolist()
    assert one.images != other.images


def test_every_pair_has_its_chance() -> None:
    drawn = [make_pairs(Numbered(3, 3), pairs=2, seed=seed) for seed in range(300)]
    seen = Counter(frozenset(pair) for pairs in drawn for pair in _names(pairs))
    assert len(seen) == 6 + 9
    assert min(seen.values()) > 300 / 9 / 3


def test_works_on_a_folder(tmp_path: Path) -> None:
    for label in range(3):
        (tmp_path / f"class{label}").mkdir()
        for number in range(3):
            pixels = np.full((4, 4, 3), 10 * label + number, np.uint8)
            (tmp_path / f"class{label}" / f"{number}.png").write_bytes(encode_png(pixels))
    source: Source = open_source(tmp_path)
    pairs = make_pairs(source, pairs=6, seed=0)
    label_of = dict(source.read(index) for index in range(len(source)))
    labels = np.array([label_of[image] for image in pairs.images])
    assert (labels[0::2] == labels[1::2]).tolist() == pairs.same.tolist()


def test_bad_images_are_named_all_at_once(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/{number}.png" for name in "ab" for number in range(3)), "b/._0.png")
    (tmp_path / "a/1.png").write_bytes(b"")
    (tmp_path / "b/2.png").write_bytes(encode_png(np.zeros((9, 9, 1), np.uint8)))
    source = open_source(tmp_path)
    with pytest.raises(PairsError) as caught:  # a draw that holds one of the two
        make_pairs(source, pairs=2, seed=4, max_pixels=64)
    assert re.search(
        r"^2 of 6 images .*\n  .*a/1.png: .* is empty.*\n  .*b/2.png: 9 x 9 pixels .*\n.*pack --max-bad",
        str(caught.value),
    )
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).unlink()
    with pytest.raises(PairsError, match=r"2 of 6 images .*\n.*a/1.png: cannot be read.*\n.*b/2"):
        make_pairs(source, pairs=12, seed=0)


@pytest.mark.parametrize(
    ("sizes", "pairs", "match"),
    [
        ((5, 5), 0, "pairs is 0"),
        ((5, 5), -2, "pairs is -2"),
        ((5, 5), 7, "pairs is 7: it must be even"),
        ((5, 5), 42, "need 21 genuine ones, but 10 images of 2 classes make only 20: .* most 40 pairs"),
        ((1, 1, 1), 2, "1 genuine ones, .* only 0"),
        ((9,), 4, "need 2 impostor ones, but 9 images of 1 classes make only 0: .*add classes"),
        ((), 2, "0 images of 0 classes"),
    ],
)
def test_what_cannot_be_drawn(sizes: tuple[int, ...], pairs: int, match: str) -> None:
    with pytest.raises(PairsError, match=match):
        make_pairs(Numbered(*sizes), pairs=pairs, seed=0)


def test_pairs_are_drawn_from_labels_with_gaps_and_beyond_what_property_says(tmp_path: Path) -> None:
    samples = [(b"%d %d" % (label, n), label) for label in (0, 5, 9) for n in range(4)]
    write_source(tmp_path / "a.rec", samples, num_classes=None, image_size=(8, 8))
    (tmp_path / "property").write_text("3,8,8\n12\n")
    drawn = make_pairs(open_source(tmp_path / "a.rec"), pairs=12, seed=0)
    for pair, same in enumerate(drawn.same):
        first, second = (drawn.images[2 * pair + k].split()[0] for k in (0, 1))
        assert (first == second) == same
