"""Class ranges: a partition that agrees with torch.chunk."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partialfc import ClassShard


@given(st.integers(1, 500), st.integers(1, 40))
def test_ranges_partition_the_classes_as_torch_chunk_does(num_classes, world_size):
    shards = [ClassShard(num_classes, rank, world_size) for rank in range(world_size)]
    covered = [c for shard in shards for c in range(shard.start, shard.stop)]
    assert covered == list(range(num_classes))
    chunks = torch.arange(num_classes).chunk(world_size)
    assert [len(chunk) for chunk in chunks] == [len(shard) for shard in shards if len(shard)]


@given(st.integers(1, 200), st.integers(1, 9), st.lists(st.integers(-1, 199), max_size=50))
def test_every_label_is_located_in_exactly_one_shard(num_classes, world_size, labels):
    labels = np.array([label for label in labels if label < num_classes], np.int64)
    found = np.full(len(labels), -1)
    for rank in range(world_size):
        shard = ClassShard(num_classes, rank, world_size)
        samples, rows = shard.locate(labels)
        assert (found[samples] == -1).all()
        assert ((rows >= 0) & (rows < len(shard))).all()
        found[samples] = rows + shard.start
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 0, 1), "num_classes is 0"), ((5, 2, 2), r"rank is 2; .* 0\.\.1"), ((5, -1, 2), "rank is -1")],
)
def test_bad_shards_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassShard(*arguments)
