"""The angles of a run: against a float64 loop, on any number of ranks, and what of them its log keeps."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import partialfc
from partialfc.distributed import World
from partialfc.metrics.run_log import read_metrics
from partialfc.training.angles import BINS, CLASSES, SAMPLES, angle_record, is_measured, measure_angles
from tests.head.cases import CORNERS, MARGINS, Case, D, build, even
from tests.train_cases import small_config
from tests.training.cases import run


def measured(case: Case, margin: str = "arcface") -> dict[str, Any]:
    """After steps that leave rows owing some: this rank's angles, the record, the rows as they are now."""
    case.margin = margin
    head = build(case)
    optimizer = partialfc.RowSGD(head, lr=0.5, momentum=0.9, weight_decay=5e-3)
    embeddings, labels = (each[case.own()] for each in case.batch())
    for _ in range(3):
        head(embeddings, labels).backward()
        optimizer.step()
    step, weight = head.step, head.weight.detach().clone()
    angles = measure_angles(head, embeddings, labels)
    assert head.step == step
    assert torch.equal(head.weight, weight)
    return {"angles": angles, "record": angle_record(angles, World.of()), "rows": head.current_rows()}


def with_sub_centers(case: Case) -> dict[str, Any]:
    MARGINS["sub-centres"] = (partialfc.SubCenter, {"k": 3, "base": partialfc.ArcFace()}, None)
    return measured(case, "sub-centres")


Vectors = list[list[float]]


def angle(a: list[float], b: list[float]) -> float:
    """Of two vectors, in degrees, number by number."""
    product = sum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.hypot(*a) * math.hypot(*b)
    return math.degrees(math.acos(max(-1.0, min(1.0, product / lengths))))


def nearest(some: Vectors, others: Vectors) -> float:
    return min(angle(a, b) for a in some for b in others)


@pytest.mark.parametrize("of_ranks", [measured, with_sub_centers], ids=["one centre", "sub-centres"])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_they_are_those_of_a_loop(run_ranks, world_size, of_ranks):
    """A class's centre is that of its sub-centres that is nearest."""
    case = Case(even(world_size), sample_rate=0.3, num_classes=20)
    case.labels = [-1, *case.batch()[1][1:].tolist()]  # the first sample is ignored
    results = run_ranks(of_ranks, world_size, case)
    rows = torch.cat([result["rows"] for result in results])
    centres = rows.view(len(rows), -1, D).tolist()
    samples = [(x, y) for x, y in zip(*(each.tolist() for each in case.batch()), strict=True) if y >= 0]
    expected = {
        "target": [nearest([x], centres[y]) for x, y in samples],
        "nearest_negative": [
            min(nearest([x], each) for c, each in enumerate(centres) if c != y) for x, y in samples
        ],
        "nearest_centre": [
            min(nearest(each, other) for o, other in enumerate(centres) if o != c)
            for c, each in enumerate(centres)
        ],
    }
    for name, values in expected.items():
        got = np.concatenate([getattr(result["angles"], name) for result in results])
        np.testing.assert_allclose(got, values, atol=1e-6)
        for result in results:
            record = result["record"]
            assert record[f"{name}_histogram"] == np.histogram(values, BINS, (0, 180))[0].tolist()
            assert record[f"{name}_degrees"] == pytest.approx(np.mean(values))
            assert record[f"{name}_smallest"] == pytest.approx(min(values))


@pytest.mark.parametrize("corner", CORNERS)
def test_corner_cases(run_ranks, corner):
    world_size, case = CORNERS[corner]
    for result in run_ranks(measured, world_size, case):
        record = result["record"]
        alone = case.num_classes == 1
        assert sum(record["target_histogram"]) == sum(case.sizes)
        assert sum(record["nearest_negative_histogram"]) == (0 if alone else sum(case.sizes))
        assert sum(record["nearest_centre_histogram"]) == (0 if alone else case.num_classes)


def test_of_many_samples_and_classes_a_part_is_measured():
    angles = measured(Case([SAMPLES + 5], num_classes=CLASSES + 9))["angles"]
    assert (len(angles.target), len(angles.nearest_negative), len(angles.nearest_centre)) == (
        SAMPLES,
        SAMPLES,
        CLASSES,
    )


def test_an_embedding_that_is_not_finite_is_left_out_of_the_record():
    case = Case([3])
    embeddings, labels = case.batch()
    embeddings[1] = math.nan
    record = angle_record(measure_angles(build(case), embeddings, labels), World.of())
    assert sum(record["target_histogram"]) == sum(record["nearest_negative_histogram"]) == 2


def test_a_run_measures_at_its_start_its_middle_and_wherever_it_verifies(folder):
    train = {"steps": 10, "log_every": 5}
    run(small_config(folder, train=train, verification={"every_steps": 4}))
    records = [record for record in read_metrics(folder / "run") if record["event"] == "angles"]
    assert [record["step"] for record in records] == [1, 4, 5, 8, 10]
    assert [step for step in range(1, 11) if is_measured(step, 10)] == [1, 5]
    for record in records:
        assert sum(record["target_histogram"]) == sum(record["nearest_negative_histogram"]) == 24
        assert record["target_smallest"] < record["target_degrees"] < 180


def on_device(device: str) -> dict[str, Any]:
    case = Case([12], num_classes=20)
    embeddings, labels = case.batch()
    head = build(case, device=device)
    return angle_record(measure_angles(head, embeddings.to(device), labels.to(device)), World.of())


def test_on_an_accelerator_they_are_those_of_the_cpu(on_pretend):
    there, here = on_pretend(on_device, "pretend:0"), on_device("cpu")
    assert there.keys() == here.keys()
    for name, value in here.items():
        assert there[name] == pytest.approx(value)
