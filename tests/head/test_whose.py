"""A state says whose shard it is; a head and an optimizer refuse another's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

import partialfc
from partialfc.distributed import World

D, C = 8, 12
State = dict[str, Any]


def built(make: Any = partialfc.RowSGD, **options: Any) -> tuple[partialfc.PartialFC, Any]:
    options = {"num_classes": C, "margin": partialfc.ArcFace(), **options}
    head = partialfc.PartialFC(D, **options)
    return head, make(head, lr=0.1)


def refused(load: Callable[[], object]) -> str:
    with pytest.raises(ValueError, match="this state is another shard's: ") as caught:
        load()
    return str(caught.value)


def load_rank_0s(folder: Path, make: Any) -> list[str]:
    """Each rank saves its states and loads them; then each loads rank 0's: the messages."""
    head, optimizer = built(make)
    rank = head.world.rank
    path = folder / "{}.pt"
    torch.save((head.state_dict(), optimizer.state_dict()), str(path).format(rank))
    head.world.barrier()
    around = torch.nn.ModuleDict({"head": head})
    messages = []
    for source in (rank, 0):
        of_head, of_optimizer = torch.load(str(path).format(source))
        in_module = {f"head.{name}": value for name, value in of_head.items()}
        before = head.weight.detach().clone()
        loads: list[Callable[[], object]] = [
            lambda state=of_head: head.load_state_dict(state),
            lambda state=of_head: head.load_state_dict(state, strict=False),
            lambda state=in_module: around.load_state_dict(state),
            lambda state=of_optimizer: optimizer.load_state_dict(state),
        ]
        for load in loads:
            if source == rank:
                load()
            else:
                messages.append(refused(load))
        assert torch.equal(head.weight, before)
    return messages


@pytest.mark.parametrize("make", [partialfc.RowSGD, partialfc.RowAdamW])
def test_rank_0s_state_is_refused_by_the_others(run_ranks, tmp_path, make):
    own, others = run_ranks(load_rank_0s, 2, tmp_path, make)
    assert own == []
    for message in others:
        assert "its rank is 0, this head's is 1. Let each rank load the state that it saved itself" in message


def save_as_if_replicated(folder: Path) -> str:
    """torch.distributed.checkpoint keeps one rank's of what has the same name on several: is it refused?"""
    head, _ = built()
    state = head.state_dict()
    dcp.save(state, checkpoint_id=folder)
    dcp.load(state, checkpoint_id=folder)
    try:
        head.load_state_dict(state)
    except ValueError as error:
        return str(error)
    return ""


def test_states_that_a_tool_took_for_equal_are_refused(run_ranks, tmp_path):
    messages = run_ranks(save_as_if_replicated, 2, tmp_path)
    assert any("this state is another shard's: its rank is " in message for message in messages)


def load_tensors_alone() -> list[str]:
    """What a file of tensors alone keeps of a state is loaded: the messages; and then with its note again."""
    head, _ = built()
    around = torch.nn.ModuleDict({"head": head, "backbone": torch.nn.Linear(2, 2)})
    states = [head.state_dict(), around.state_dict()]
    tensors = [{name: value for name, value in each.items() if isinstance(value, Tensor)} for each in states]
    messages = []
    for module, state, prefix in zip((head, around), tensors, ("", "head."), strict=True):
        try:
            module.load_state_dict(state, strict=False)
        except ValueError as error:
            messages.append(str(error))
        module.load_state_dict(state | {f"{prefix}_extra_state": head.get_extra_state()})
    around.load_state_dict({k: v for k, v in tensors[1].items() if k.startswith("backbone")}, strict=False)
    return messages


def test_centres_that_do_not_say_whose_they_are_are_refused_on_several_ranks(run_ranks):
    for messages in run_ranks(load_tensors_alone, 2):
        assert len(messages) == 2
        assert (
            "this state has weight and no _extra_state, so it does not say whose shard it is" in messages[0]
        )
        assert "head.weight and no head._extra_state" in messages[1]
    assert run_ranks(load_tensors_alone, 1) == [[]]


def states_of(**options: Any) -> tuple[State, State]:
    head, optimizer = built(**options)
    return head.state_dict(), optimizer.state_dict()


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        ({"num_classes": C + 1}, "its num_classes is 13, this head's is 12. "),
        ({"num_classes": 9}, "its num_classes is 9, this head's is 12. "),
    ],
)
def test_the_state_of_another_head_is_refused_in_one_message(options, differs):
    of_head, of_optimizer = states_of(**options)
    head, optimizer = built()
    assert differs in refused(lambda: head.load_state_dict(of_head))
    assert differs in refused(lambda: optimizer.load_state_dict(of_optimizer))


def test_the_state_of_another_number_of_ranks_is_refused(run_ranks):
    of_head, of_optimizer = run_ranks(states_of, 2)[0]
    head, optimizer = built()
    for load in (lambda: head.load_state_dict(of_head), lambda: optimizer.load_state_dict(of_optimizer)):
        assert "its world_size is 2, this head's is 1" in refused(load)


def load_states_of_0_1(states: list[tuple[State, State]]) -> int:
    head, optimizer = built()
    of_head, of_optimizer = states[World.of().rank]
    head.load_state_dict(of_head)
    optimizer.load_state_dict(of_optimizer)
    return head.step


@pytest.mark.parametrize("world_size", [1, 2])
def test_states_of_version_0_1_are_loaded(run_ranks, world_size):
    """They do not say whose they are."""
    states = run_ranks(states_of, world_size)
    for of_head, of_optimizer in states:
        of_head["_extra_state"] = {"step": 7}
        del of_optimizer["shard"]
    assert run_ranks(load_states_of_0_1, world_size, states) == [7] * world_size


def test_a_head_of_another_seed_goes_on_with_trained_centres():
    of_head, _ = states_of(seed=3)
    head, _ = built()
    head.load_state_dict(of_head)
    assert head.state_dict()["weight"].equal(of_head["weight"])
