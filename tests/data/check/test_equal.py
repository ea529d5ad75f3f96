"""Equal things and chains of pairs, compared with a plain search."""

from itertools import combinations

import numpy as np
import pytest

from partialfc.data.check.equal import covering, equal_groups, linked_groups


@pytest.mark.parametrize("seed", range(5))
def test_equal_rows_are_found_in_the_order_of_their_places(seed):
    values = np.random.default_rng(seed).integers(0, 4, (60, 2)).astype(np.uint64)
    rows = [tuple(row) for row in values.tolist()]
    wanted = [[at for at, other in enumerate(rows) if other == row] for row in dict.fromkeys(rows)]
    found = [group.tolist() for group in equal_groups(values)]
    assert found == [group for group in wanted if len(group) > 1]


def test_no_rows_and_one_have_no_equal():
    for count in (0, 1):
        assert equal_groups(np.zeros((count, 2), np.uint64)) == []


def links(seed: int) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in np.random.default_rng(seed).integers(0, 40, (25, 2)) if a != b]


@pytest.mark.parametrize("seed", range(5))
def test_what_pairs_link_is_one_group(seed):
    pairs = links(seed)
    groups = linked_groups(pairs)
    assert sorted(thing for group in groups for thing in group) == sorted(
        {each for pair in pairs for each in pair}
    )
    assert groups == sorted(sorted(group) for group in groups)
    for group in groups:
        reached = {group[0]}
        for _ in group:
            reached |= {each for pair in pairs if reached & {*pair} for each in pair}
        assert reached == {*group}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_not_chosen_has_a_pair_that_is(seed):
    pairs = links(seed)
    chosen = covering(40, pairs)
    together = {frozenset(pair) for pair in pairs}
    for thing in range(40):
        with_chosen = any(chosen[other] and frozenset((thing, other)) in together for other in range(40))
        assert chosen[thing] != with_chosen
    assert not any(
        chosen[a] and chosen[b] for a, b in combinations(range(40), 2) if frozenset((a, b)) in together
    )
