"""Copies, pickles and state of a head: the rows as they are now, and a head of its own."""

import copy
import pickle

import pytest
import torch

import partialfc
from tests.head.optim.cases import SGD, batch, build, steps


def test_a_heads_state_dict_holds_the_rows_as_they_are_now():
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, **SGD)
    steps(head, optimizer, 0, 20)
    now = head.current_rows().clone()
    assert torch.equal(head.state_dict()["weight"], now)


def test_rows_loaded_into_a_head_owe_nothing():
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, **SGD)
    steps(head, optimizer, 0, 20)
    state = {name: copy.deepcopy(value) for name, value in head.state_dict().items()}
    steps(head, optimizer, 20, 40)
    head.load_state_dict(state)
    assert torch.equal(head.current_rows(), state["weight"])


def test_a_copy_of_a_head_is_a_head_of_its_own():
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, **SGD)
    steps(head, optimizer, 0, 20)
    other = copy.deepcopy(head)
    assert torch.equal(other.weight, head.weight)
    again = partialfc.RowSGD(other, **SGD)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert steps(other, again, 20, 30) == steps(head, optimizer, 20, 30)


def test_a_copied_head_does_not_take_the_optimizer_beside_it():
    """Whatever else is copied with it: the optimizer says that it cannot be."""
    head = build(0.1)
    beside = {"head": head, "optimizer": partialfc.RowSGD(head, **SGD)}
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        copy.deepcopy(beside)


def test_a_pickled_head_is_a_head_of_its_own(tmp_path):
    """The rows as they are now, without optimizer or waiting gradients; it trains on with a new one."""
    head = build(0.1)
    optimizer = partialfc.RowSGD(head, **SGD)
    steps(head, optimizer, 0, 20)
    embeddings, labels = batch(20)
    head(embeddings, labels).backward()
    torch.save(head, tmp_path / "head.pt")
    optimizer.zero_grad()
    other = torch.load(tmp_path / "head.pt", weights_only=False)
    assert not other.has_row_gradients()
    assert torch.equal(other.weight, head.current_rows())
    again = partialfc.RowSGD(other, **SGD)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert steps(other, again, 21, 30) == steps(head, optimizer, 21, 30)


def pickle_here_or_there(path: str) -> tuple[bool, str]:
    """On two ranks: each pickles its head and loads it, then rank 0 loads rank 1's."""
    head = build(1.0)
    own = pickle.loads(pickle.dumps(head))
    same = torch.equal(own.weight, head.weight) and own.world == head.world
    if head.world.rank == 1:
        torch.save(head, path)
    head.world.gather_integers([0])
    if head.world.rank == 1:
        return same, ""
    with pytest.raises(RuntimeError) as caught:
        torch.load(path, weights_only=False)
    return same, str(caught.value)


def test_a_pickled_head_goes_back_to_its_rank_alone(run_ranks, tmp_path):
    (same, message), (same_there, _) = run_ranks(pickle_here_or_there, 2, str(tmp_path / "head.pt"))
    assert same
    assert same_there
    assert "pickled on rank 1 of 2, and this process is rank 0 of 2" in message


def test_zero_grad_of_the_head_drops_what_waits():
    head = build(1.0)
    optimizer = partialfc.RowSGD(head, lr=0.5)
    before = head.weight.detach().clone()
    embeddings, labels = batch(0)
    head(embeddings, labels).backward()
    head.zero_grad()
    optimizer.step()
    assert torch.equal(head.weight.detach(), before)
