"""Which classes stay in a pool, and in which order, against a dictionary that is written class by class."""

from collections import OrderedDict

import numpy as np
import pytest

from partialfc.pool.recent_classes import NOWHERE, RecentClasses

FAR = 10**15  # class ids may lie anywhere


def write(classes: OrderedDict[int, None], labels: list[int], size: int) -> None:
    for label in labels:
        if label in classes:
            classes.move_to_end(label)
    for label in labels:
        if label not in classes:
            if len(classes) == size:
                classes.pop(next(old for old in classes if old not in labels))
            classes[label] = None
    for label in labels:
        classes.move_to_end(label)


@pytest.mark.parametrize("size", [1, 2, 5, 300])
def test_the_least_recently_written_classes_make_room(size):
    generator = np.random.default_rng(0)
    pool, expected = RecentClasses(size), OrderedDict[int, None]()
    everything = np.arange(3 * size) * FAR
    for number in range(200):
        labels = generator.permutation(everything)[: generator.integers(0, size + 1)]
        before = set(expected)
        taken = pool.take(labels)
        write(expected, labels.tolist(), size)
        assert taken.was_there.tolist() == [label in before for label in labels.tolist()]
        state = pool.state()
        assert state["classes"][state["order"]].tolist() == list(expected)
        np.testing.assert_array_equal(pool.find(labels), taken.slots)
        found = pool.find(everything)
        assert [label for label, slot in zip(everything.tolist(), found, strict=True) if slot != NOWHERE] == (
            sorted(expected)
        )
        if number % 20 == 10:  # one that is restored goes on alike
            pool = RecentClasses(size)
            pool.restore(**state)


def test_classes_stay_in_their_slots():
    pool = RecentClasses(4)
    assert pool.take(np.array([7, 8, 9])).slots.tolist() == [0, 1, 2]
    assert pool.take(np.array([8, 3])).slots.tolist() == [1, 3]
    assert pool.take(np.array([5, 3, 6])).slots.tolist() == [0, 3, 2]  # 7 and then 9 are the oldest
    assert pool.find(np.array([7, 8, 9, -1])).tolist() == [NOWHERE, 1, NOWHERE, NOWHERE]


@pytest.mark.parametrize(
    "change",
    [
        {"classes": np.array([5, 6, 7])},
        {"classes": np.array([5, 5, -1, -1])},
        {"classes": np.array([5, -2, -1, -1])},
        {"classes": np.array([5, 6, 7, -1])},
        {"order": np.array([0, 0])},
        {"order": np.array([0, 2])},
    ],
    ids=["another size", "one class twice", "no class", "more classes", "one slot twice", "no slot"],
)
def test_what_is_no_state_is_refused(change):
    state = {"classes": np.array([5, 6, -1, -1]), "order": np.array([1, 0])}
    RecentClasses(4).restore(**state)
    with pytest.raises(ValueError, match="not those of a pool of 4 slots"):
        RecentClasses(4).restore(**state | change)
