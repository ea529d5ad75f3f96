"""Labels of samples that lie together by class, found from few of them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.data.sources.runs import runs

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def found(labels: list[int], sizes: list[int]) -> tuple[list[int], int]:
    """The labels that the runs give, and how many were read for it."""
    read: list[int] = []

    def label(index: int) -> int:
        read.append(index)
        return labels[index]

    given = [0] * len(labels)
    for start, stop, value in runs(label, len(labels), np.array(sizes, np.int64)):
        given[start:stop] = [value] * (stop - start)
    return given, len(read)


@settings(deadline=None)
@given(lengths=lengths, seed=st.integers(0, 1000))
def test_sizes_that_are_right_are_confirmed_with_three_labels_each(lengths: list[int], seed: int) -> None:
    ids = np.random.default_rng(seed).permutation(100)[: len(lengths)]
    labels = np.repeat(ids, lengths).tolist()
    given, read = found(labels, lengths)
    assert given == labels
    assert read <= 3 * len(lengths)


@settings(deadline=None)
@given(lengths=lengths, sizes=st.lists(st.integers(1, 60), max_size=20))
def test_sizes_that_are_wrong_change_nothing_but_the_time(lengths: list[int], sizes: list[int]) -> None:
    labels = np.repeat(np.arange(len(lengths)), lengths).tolist()
    assert found(labels, sizes)[0] == labels


def test_a_long_run_takes_few_labels_even_with_a_wrong_size() -> None:
    labels = [0] * 100_000 + [1] * 100_000
    given, read = found(labels, [1, 1])
    assert given == labels
    assert read < 150


def test_without_sizes_every_label_is_read() -> None:
    assert found([3, 1, 3, 2], []) == ([3, 1, 3, 2], 4)


def test_a_damaged_record_within_a_run_hides_no_other() -> None:
    """-1 stands for it; the runs around it are found as they are."""
    labels = [0] * 5 + [-1] + [0] * 5 + [1] * 7
    given, _ = found(labels, [11, 7])
    assert [value for value, label in zip(given, labels, strict=True) if label >= 0] == [0] * 10 + [1] * 7
