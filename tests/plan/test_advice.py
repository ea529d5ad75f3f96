"""How far a setting can grow, and changes that do what they say."""

from dataclasses import replace

import pytest

from partialfc.plan import Setting, memory_of, plan
from partialfc.plan.advice import fewest_gpus
from tests.plan.cases import FACES, GB


def test_the_largest_number_of_classes_fits_and_one_more_chunk_of_ranks_does_not():
    made = plan(FACES, memory=80 * GB)
    assert made.fits
    assert not made.alternatives
    assert memory_of(replace(FACES, classes=made.most_classes)).total <= 80 * GB
    assert memory_of(replace(FACES, classes=made.most_classes + 8)).total > 80 * GB
    assert plan(FACES, memory=1000).most_classes == 0
    less = plan(FACES, memory=80 * GB, reserve=40 * GB)
    assert less.most_classes == pytest.approx(made.most_classes / 2, rel=0.01)


@pytest.mark.parametrize("memory", [5, 4, 2, 1])
def test_what_to_change_does_what_it_says(memory):
    made = plan(FACES, memory=memory * GB)
    assert not made.fits
    assert made.alternatives[-1].fits
    for each in made.alternatives:
        total = memory_of(replace(FACES, **each.changes)).total
        assert (each.total, each.fits) == (total, total <= memory * GB)
        assert total < made.memory.total
    assert made.alternatives[0].changes == {"weight_dtype": "bfloat16"}
    gpus = made.alternatives[-1].changes["gpus"]
    assert gpus == fewest_gpus(FACES, memory * GB)
    assert memory_of(replace(FACES, gpus=gpus - 1)).total > memory * GB


def test_a_smaller_sample_is_proposed_where_the_exponentials_are_what_does_not_fit():
    wide = Setting(
        classes=100_000, embedding=128, gpus=8, batch=4096, sample_rate=1.0, compute_dtype="bfloat16"
    )
    changed = {name for each in plan(wide, memory=GB // 3).alternatives for name in each.changes}
    assert {"sample_rate", "batch"} <= changed


def test_nothing_helps_where_the_gathered_batch_alone_is_too_large():
    made = plan(replace(FACES, batch=16, gpus=64), memory=1_000_000)
    assert not any(each.fits for each in made.alternatives)
