"""The small experiment: its data, its figures against a loop, and that a margin makes classes narrower."""

import math

import numpy as np
import pytest
import torch

import partialfc
from partialfc.plot.digits import DIGITS, Digits
from partialfc.plot.embeddings_picture import BARS, directions, draw_embeddings
from partialfc.plot.experiment import LOSSES, Embedded, embed_digits, first_centres

SMALL = {"images": 48, "epochs": 2, "seed": 3}
ARC = {"arc": lambda _: partialfc.ArcFace(scale=16.0)}


def test_a_picture_depends_on_its_number_alone():
    digits = Digits(size=16, seed=1)
    pictures, labels = digits.batch(0, 5)
    assert pictures.shape == (40, 1, 16, 16)
    assert labels.tolist() == [label for label in range(len(DIGITS)) for _ in range(5)]
    assert pictures.min() >= -1.0
    assert pictures.max() <= 1.0
    assert len(torch.unique(pictures.flatten(1), dim=0)) == 40
    later, _ = Digits(size=16, seed=1).batch(3, 2)
    assert torch.equal(later[:2], pictures[3:5])
    other, _ = Digits(size=16, seed=2).batch(3, 2)
    assert not torch.equal(other, later)


def test_every_face_draws_each_digit_differently():
    """And none draws a box that stands for all that it lacks."""
    digits = Digits(size=16, seed=0)
    assert len({len(inks) for inks in digits.inks}) == 1
    for of_face in zip(*digits.inks, strict=True):
        assert len({ink.tobytes() for ink in of_face}) == len(DIGITS)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_its_figures_are_those_of_a_loop(dimensions):
    each = embed_digits(ARC, dimensions=dimensions, **SMALL)["arc"]
    assert each.embeddings.shape == (8 * 16, dimensions)
    right, degrees = 0, []
    for row, label in zip(each.embeddings.double().numpy(), each.labels.tolist(), strict=True):
        cosines = [row @ c / np.linalg.norm(row) / np.linalg.norm(c) for c in each.centres.double().numpy()]
        right += int(np.argmax(cosines)) == label
        degrees.append(math.degrees(math.acos(cosines[label])))
    assert each.accuracy == pytest.approx(right / len(degrees))
    assert each.degrees == pytest.approx(np.mean(degrees), abs=0.01)


def test_the_same_seed_gives_the_same_numbers_and_leaves_torchs_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again = (embed_digits(ARC, dimensions=2, **SMALL)["arc"] for _ in range(2))
    assert torch.equal(first.embeddings, again.embeddings)
    assert torch.equal(torch.get_rng_state(), before)
    other = embed_digits(ARC, dimensions=2, **SMALL | {"seed": 4})["arc"]
    assert not torch.equal(first.embeddings, other.embeddings)


def test_it_reports_each_step():
    told = []
    embed_digits({"a\nb": ARC["arc"]}, dimensions=2, **SMALL, progress=lambda *args: told.append(args))
    assert told == [("a b", step, 6) for step in range(1, 7)]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_first_centres_are_evenly_spaced(dimensions):
    centres = first_centres(dimensions)
    cosines = (centres @ centres.T).fill_diagonal_(-1)
    nearest = 45 if dimensions == 2 else math.degrees(math.acos(1 / 3))
    torch.testing.assert_close(torch.rad2deg(cosines.max(1).values.acos()), torch.full((8,), float(nearest)))


@pytest.mark.slow
def test_a_margin_makes_classes_narrower():
    chosen = {name: LOSSES[name] for name in ("normalized softmax", "ArcFace, m = 0.5")}
    plain, arcface = embed_digits(chosen, dimensions=2, images=400, epochs=8, seed=0).values()
    assert min(plain.accuracy, arcface.accuracy) > 0.85
    assert arcface.degrees < 0.8 * plain.degrees


def test_the_bars_are_the_shares_of_directions():
    labels = torch.arange(8).repeat_interleave(4)
    embeddings = first_centres(2)[labels] + 0.001
    embeddings[0] = torch.tensor([-1.0, -0.001])  # of class 0, which else points to 0 degrees
    bars = directions(Embedded(embeddings, labels, first_centres(2), 1.0, 0.0))
    assert bars.shape == (8, BARS)
    np.testing.assert_allclose(bars.sum(1), 1.0)
    assert bars[0, 0] == 0.25
    assert bars[0, BARS // 2] == 0.75


@pytest.mark.parametrize("dimensions", [2, 3])
def test_it_is_drawn(tmp_path, dimensions):
    found = embed_digits(ARC, dimensions=dimensions, images=16, epochs=1, seed=0)
    assert draw_embeddings(found, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
