"""Ranks as people read them."""

import pytest

from partialfc.distributed.ranks import named_ranks


@pytest.mark.parametrize(
    ("ranks", "text"), [([3], "rank 3"), ([0, 1, 2, 5], "ranks 0-2, 5"), ([0, 2, 3], "ranks 0, 2-3")]
)
def test_ranks_are_named_in_runs(ranks, text):
    assert named_ranks(ranks) == text
