"""One batch's arithmetic without a module: the same numbers as the plain reference."""

import numpy as np
import pytest
import torch

import partialfc
from partialfc.distributed import World
from partialfc.head import step
from partialfc.head.agreement import Agreed
from partialfc.head.kernels.buffers import Pool
from partialfc.head.kernels.storage import Stored
from partialfc.head.rows import Rows
from partialfc.head.softmax import Softmax
from partialfc.head.targets import targets_here, targets_of_shard
from tests.head import reference
from tests.head.cases import TOLERANCE, Case

ALONE = World(None, 0, 1)


def rows_of(weight, rows):
    index = None if rows is None else torch.from_numpy(rows)
    return Rows(Stored(weight), None, None, rows, index, torch.float64)


def gathered_of(embeddings, labels, valid=None):
    valid = np.arange(len(embeddings)) if valid is None else valid
    agreed = Agreed(labels, None, [len(valid)], valid)
    return step.gather(ALONE, embeddings, agreed, gather_dtype=None, math_dtype=torch.float64, fused=False)


def batch_of(gathered, samples, target_rows, rows):
    nothing = {"class_weights": None, "class_margins": None}
    targets = targets_of_shard(gathered.unit, samples, target_rows, fused=False, **nothing)
    settings = {"corrections": None, "offset_bound": 0.0, "seed": 0, "step": 0}
    return step.local_batch(ALONE, gathered, targets, rows, **settings)


def test_the_targets_of_a_shard_come_by_ascending_row():
    shard = partialfc.ClassShard(10, 1, 2)  # classes 5..9
    samples, rows = targets_here(shard, np.array([9, 0, 5, 7, 5, 4]))
    assert samples.tolist() == [2, 4, 3, 0]
    assert rows.tolist() == [0, 0, 2, 4]


def test_every_target_has_its_column_among_the_rows_that_take_part():
    embeddings = torch.randn(4, 3, dtype=torch.float64)
    gathered = gathered_of(embeddings, np.array([6, 6, 0, 2]))
    weight = torch.zeros(9, 3, dtype=torch.float64)
    weight[2, 0], weight[6, 2] = 2.0, 3.0
    samples, targets, rows = np.array([3, 0, 1]), np.array([2, 6, 6]), np.array([2, 5, 6, 8])
    batch = batch_of(gathered, samples, rows_of(weight, targets), rows_of(weight, rows))
    assert batch.num_rows == 4
    assert batch.target_column.tolist() == [2, 2, -1, 0]
    assert batch.target_columns.tolist() == [0, 2, 2]
    unit = gathered.unit
    expected = torch.stack([unit[0, 2], unit[1, 2], torch.zeros(()).double(), unit[3, 0]])
    torch.testing.assert_close(batch.samples.cos, expected)
    assert batch.targets_in(1, 4).tolist() == [0, 1]


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_a_batch_has_the_loss_and_gradient_of_the_reference(rate):
    case = Case([7], labels=[3, -1, 3, 40, 0, 49, 11])
    (embeddings, labels), weight = case.batch(), case.weight()
    valid = np.flatnonzero(labels.numpy() >= 0)
    before = embeddings.clone()
    gathered = gathered_of(embeddings, labels.numpy()[valid], valid)
    shard = partialfc.ClassShard(50, 0, 1)
    samples, targets = targets_here(shard, gathered.labels)
    rows = step.participating_rows(shard, gathered.labels, sample_rate=rate, seed=0, step=0)
    targets = targets_of_shard(
        gathered.unit, samples, rows_of(weight, targets), class_weights=None, class_margins=None, fused=False
    )
    batch = batch_of(gathered, samples, rows_of(weight, targets.rows), rows_of(weight, rows))
    softmax = Softmax(partialfc.ArcFace(), torch.float64, False, False, Pool())
    loss, gradient = step.forward(
        *(ALONE, softmax, gathered, batch, targets.centres, rows_of(weight, rows)),
        taken=0,
        wants_gradient=True,
    )
    assert torch.equal(embeddings, before)

    participating = None if rows is None else torch.from_numpy(rows)
    margin = reference.combined(1, 0.5, 0)
    expected = reference.dense_loss(
        *(embeddings.requires_grad_(), weight, labels), margin=margin, scale=64.0, participating=participating
    )
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=TOLERANCE)
    torch.testing.assert_close(gradient.by_embeddings, embeddings.grad, atol=TOLERANCE, rtol=0)
