"""The pool: what it lends, when it lends the same memory again, and that nobody writes into another's."""

import pytest
import torch

import partialfc
from partialfc.head.kernels.buffers import Loan, Pool

CPU = torch.device("cpu")
SHAPE = (100, 64)


def lend(pool: Pool, rows: int = 100) -> Loan:
    return pool.lend((rows, 64), torch.float32, CPU)


def test_memory_is_lent_again_once_its_loan_has_ended():
    pool = Pool()
    loan = lend(pool)
    where = loan.tensor.data_ptr()
    assert lend(pool).tensor.data_ptr() != where  # this one is dropped, so the pool never sees it again
    loan.end()
    with lend(pool, 80) as smaller:
        assert smaller.data_ptr() == where
        assert smaller.shape == (80, 64)
    assert lend(pool).tensor.data_ptr() == where


def test_slices_keep_their_memory_beyond_their_loan():
    """The fault that was: they kept nothing, and the next chunk was written over them."""
    pool = Pool()
    with lend(pool) as tensor:
        rows = tensor[10:20].fill_(1.0)
    with lend(pool) as other:
        other.fill_(2.0)
        assert rows.eq(1.0).all()
    where = rows.data_ptr() - 10 * 64 * 4
    del rows
    loans = [lend(pool), lend(pool)]
    assert where in {loan.tensor.data_ptr() for loan in loans}


def test_the_tensor_of_an_ended_loan_is_empty():
    pool = Pool()
    with lend(pool) as tensor:
        tensor.fill_(1.0)
    assert tensor.numel() == 0


def test_a_loan_ends_once_and_with_an_error_too():
    pool = Pool()
    loan = lend(pool)
    loan.end()
    loan.end()
    assert len(pool.ended) == 1
    with pytest.raises(KeyError), lend(pool):
        raise KeyError
    assert len(pool.ended) == 1


@pytest.mark.parametrize("sparse_grad", [False, True])
def test_a_heads_steps_write_into_the_same_memory(sparse_grad):
    head = partialfc.PartialFC(128, 2000, margin=partialfc.ArcFace(), sparse_grad=sparse_grad)
    if not sparse_grad:
        optimizer = partialfc.RowSGD(head, lr=0.1, momentum=0.9, momentum_dtype=torch.int8)
    seen = []
    for _ in range(4):
        loss = head(torch.randn(8, 128).requires_grad_(), torch.arange(8))
        loss.backward()
        if sparse_grad:
            head.weight.grad = None
        else:
            optimizer.step()
        seen.append({memory.data_ptr() for memory in head.pool.ended})
    assert len(seen[0]) >= 2
    assert seen[1] == seen[2] == seen[3]  # after the first step, which finds the sizes


def test_a_loss_that_is_dropped_leaves_no_memory_in_use():
    head = partialfc.PartialFC(128, 500, margin=partialfc.ArcFace())
    partialfc.RowSGD(head, lr=0.1)
    for _ in range(3):
        head(torch.randn(8, 128).requires_grad_(), torch.arange(8))
    assert head.kept_bytes() == 0
