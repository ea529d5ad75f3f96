"""Templates against loops: pooling, pairs and open-set search; what is missing, one class, ties."""

import logging

import numpy as np
import pytest
import torch

from partialfc.distributed import World
from partialfc.errors import DataError
from partialfc.evaluation.scores.open_set import OpenSet
from partialfc.evaluation.template_protocol import TemplateProtocol
from partialfc.evaluation.templates import Pooled, pool
from partialfc.evaluation.verification import verify

IMAGES, SUBJECTS = 60, 5


def case(seed: int = 0):
    """Embeddings [n, 6], templates and media [n] of rising numbers with gaps, and detectors' scores [n]."""
    generator = np.random.default_rng(seed)
    template = np.sort(generator.choice([3, 4, 8, 9, 15, 16, 23, 42, 43, 50], IMAGES))
    media = generator.integers(0, 4, IMAGES)  # a number may be of a medium of another template, too
    rows = np.random.default_rng(1).normal(size=(SUBJECTS, 6))[template % SUBJECTS]
    rows = rows + 1.5 * generator.normal(size=rows.shape)
    return rows, template, media, generator.uniform(0.1, 1, IMAGES)


def pooled_by_loops(weighted: bool, norm: bool) -> dict[int, np.ndarray]:
    rows, template, media, detector = case()
    found = {}
    for number in sorted(set(template.tolist())):
        total = np.zeros(6)
        for medium in set(media[template == number].tolist()):
            frames = []
            for row, own, of, score in zip(rows, template, media, detector, strict=True):
                if own == number and of == medium:
                    row = row if norm else row / np.linalg.norm(row)
                    frames.append(row * (score if weighted else 1))
            total += np.mean(frames, axis=0)
        found[number] = total
    return found


def of_ranks(weighted: bool, norm: bool) -> Pooled:
    rows, template, media, detector = case()
    world = World.of()
    cuts = [0, *([0] if world.size == 3 else []), 25, IMAGES][-1 - world.size :]
    own = slice(0, IMAGES) if world.size == 1 else slice(cuts[world.rank], cuts[world.rank + 1])
    weights = detector if weighted else None
    return pool(torch.tensor(rows[own]), template, media, weights, world, first=own.start, norm=norm)


@pytest.mark.parametrize("norm", [True, False], ids=["norm counts", "norm 1"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "detector"])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_pooled_as_by_loops(run_ranks, world_size, weighted, norm):
    expected = pooled_by_loops(weighted, norm)
    for found in run_ranks(of_ranks, world_size, weighted, norm):
        assert found.numbers.tolist() == list(expected)
        assert found.rows.numpy() == pytest.approx(np.array(list(expected.values())), rel=1e-6)
        assert found.places(np.array([42, 1, 99, 3])).tolist() == [7, -1, -1, 0]


def test_a_template_without_direction_is_named():
    rows = torch.tensor([[1.0, 0], [-1.0, 0], [0, 1.0]])
    with pytest.raises(DataError, match="template 7 has an embedding that is zero"):
        pool(rows, np.array([7, 7, 8]), np.array([1, 2, 1]), None, World.of())


def units() -> dict[int, np.ndarray]:
    return {number: row / np.linalg.norm(row) for number, row in pooled_by_loops(False, True).items()}


PAIRS = np.array([(a, b) for a in (3, 4, 8, 9, 15) for b in (16, 23, 42, 43, 50, 77)])
SAME = np.array([a % SUBJECTS == b % SUBJECTS for a, b in PAIRS])
PROBES = np.array([3, 4, 8, 15, 23, 43, 77])
GALLERY = np.array([9, 16, 50])  # subjects 4, 1 and 0


def protocol(*, reject: bool, replicates: int = 0) -> TemplateProtocol:
    pooled = of_ranks(False, True)
    return TemplateProtocol(
        pooled, World.of(), cohort=None, reject_missing=reject, replicates=replicates, seed=0
    )


def measured(fars: list[float]) -> tuple[dict, dict]:
    subjects = {number: number % SUBJECTS for number in (*PAIRS.reshape(-1).tolist(), *PROBES.tolist())}
    found = protocol(reject=True, replicates=20)
    pairs = found.verify(PAIRS, SAME, fars, subjects)
    searches = found.identify((PROBES, PROBES % SUBJECTS), [(GALLERY, GALLERY % SUBJECTS)] * 2, [1, 2])
    return pairs.to_dict(), {name: each.to_dict() for name, each in searches.items()}


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_pairs_and_searches_as_by_loops(run_ranks, world_size):
    rows = units()
    scores = [rows[a] @ rows[b] if b in rows else -2 for a, b in PAIRS.tolist()]
    expected = verify(np.array(scores), SAME, folds=2, fars=[0.1, 0.2])
    first = []
    for number in PROBES.tolist():
        found = {other: rows[number] @ rows[other] for other in GALLERY.tolist()} if number in rows else {}
        mate = max((s for other, s in found.items() if other % SUBJECTS == number % SUBJECTS), default=-2)
        other = max((s for other, s in found.items() if other % SUBJECTS != number % SUBJECTS), default=-2)
        before = sum(s >= mate for other, s in found.items() if other % SUBJECTS != number % SUBJECTS)
        mated = number % SUBJECTS in GALLERY % SUBJECTS
        first.append((mated, mate, other, before if mate > -2 else 99))
    known = [each for each in first if each[0]]
    for pairs, searches in run_ranks(measured, world_size, [0.1, 0.2]):
        assert pairs["tar@far=1e-1"] == expected.tar[0.1]
        assert pairs["tar@far=2e-1"] == expected.tar[0.2]
        assert pairs["eer"] == pytest.approx(expected.eer)
        for name in ("1:N gallery 1", "1:N"):
            assert searches[name]["rank-1"] == np.mean([before < 1 for *_, before in known])
            assert searches[name]["rank-2"] == np.mean([before < 2 for *_, before in known])
            assert searches[name]["tpir@fpir=1e-1"] is None  # of four strangers not one may be let in
    assert "rank-1" in run_ranks(measured, 1, [0.1])[0][1]["1:N"]["intervals"]


def test_missing_templates_are_an_error_or_are_refused(caplog):
    with pytest.raises(DataError, match="1 templates have no image, such as template 77 of a pair"):
        protocol(reject=False).verify(PAIRS, SAME, [0.1], {})
    with caplog.at_level(logging.WARNING):
        found = protocol(reject=True).verify(PAIRS[5:], SAME[5:], [0.1], {})
    assert "template 77" in caplog.text
    assert found.rates["tar@far=1e-1"] is not None


def by_definition(case: OpenSet, fpir: float) -> float | None:
    strangers = case.other[~case.mated]
    allowed = int(round(fpir * 100) * len(strangers) // 100)
    if allowed < 1:
        return None
    threshold = min(t for t in strangers if (strangers > t).sum() <= allowed)
    hits = [
        m > threshold and m > o for m, o in zip(case.mate[case.mated], case.other[case.mated], strict=True)
    ]
    return float(np.mean(hits))


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("fpir", [0.01, 0.1, 0.5])
def test_tpir_by_its_definition(fpir, ties):
    generator = np.random.default_rng(0)
    mated = generator.random(80) < 0.5
    mate, other = generator.normal(size=(2, 80)) + np.array([[0.7], [0]])
    if ties:
        mate, other = mate.round(), other.round()
    case = OpenSet(mated, mate, other, np.arange(80) // 3)
    assert case.tpir(fpir) == by_definition(case, fpir)
    twice = OpenSet(*(np.tile(each, 2) for each in (mated, mate, other, np.arange(80) // 3)))
    weighted = case.tpirs(fpir, np.full((1, 27), 2))[0]
    assert weighted == pytest.approx(by_definition(twice, fpir) or np.nan, nan_ok=True)


def test_searches_of_constant_scores_find_nobody():
    case = OpenSet(np.arange(20) < 10, np.ones(20), np.ones(20), np.arange(20))
    assert case.tpir(0.5) == 0
