"""A head built too early or wrapped too widely says so."""

import contextlib
import functools
import pickle

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import partialfc


def build():
    return partialfc.PartialFC(8, 10, margin=partialfc.ArcFace())


def head_before_the_group(store):
    """What a framework that builds models first does."""
    torch.distributed.destroy_process_group()
    head = build()
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank_of(store), world_size=2
    )
    torch.distributed.barrier()  # the first rank to fail leaves, maybe before the other has joined
    head(torch.randn(3, 8), torch.tensor([1, 2, 3]))


def rank_of(store):
    with contextlib.suppress(FileExistsError), open(store + ".first", "x"):
        return 0
    return 1


def test_a_head_built_before_the_process_group_is_told(rank_outcomes, tmp_path):
    for outcome in rank_outcomes(head_before_the_group, 2, str(tmp_path / "second")):
        assert "built before torch.distributed.init_process_group" in str(outcome)


def head_inside_ddp():
    model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    model.head = build()
    model.forward = lambda x, y: model.head(model[0](x), y)
    partialfc.RowSGD(model.head, lr=0.1)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    parallel(torch.randn(3, 8), torch.tensor([1, 2, 3]))


def test_a_head_inside_ddp_is_told(rank_outcomes):
    for outcome in rank_outcomes(head_inside_ddp, 2):
        assert "wrap the backbone alone" in str(outcome)


def head_in_fsdp(optimizer_first):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    head = build()
    if optimizer_first:
        partialfc.RowSGD(head, lr=0.1)
    fully_shard(head, mesh=init_device_mesh("cpu", (2,)))
    if not optimizer_first:
        partialfc.RowSGD(head, lr=0.1)
    head(torch.randn(3, 8), torch.tensor([1, 2, 3]))


@pytest.mark.parametrize("optimizer_first", [True, False], ids=["optimizer first", "head first"])
def test_a_head_in_fsdp_is_told(rank_outcomes, optimizer_first):
    for outcome in rank_outcomes(head_in_fsdp, 2, optimizer_first):
        assert "fully_shard" in str(outcome)
        assert "wrap the backbone alone" in str(outcome)


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("sample_rate", [0.5, 1.0])
def test_a_head_that_checkpointing_computes_again_is_told(use_reentrant, sample_rate):
    head = partialfc.PartialFC(8, 10, margin=partialfc.ArcFace(), sample_rate=sample_rate)
    partialfc.RowSGD(head, lr=0.1)
    x, labels = torch.randn(3, 8, requires_grad=True), torch.tensor([1, 2, 3])

    def there_and_back():
        checkpoint(head, x, labels, use_reentrant=use_reentrant).backward()

    with pytest.raises(RuntimeError, match="Checkpoint the backbone alone"):
        there_and_back()
    assert head.step == 1
    assert not head.has_row_gradients()


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpointing_the_backbone_alone_changes_nothing(use_reentrant):
    backbone = torch.nn.Linear(8, 8)
    labels, x = torch.tensor([1, 2, 3]), torch.randn(3, 8, requires_grad=True)
    gradients = []
    for run in (backbone, functools.partial(checkpoint, backbone, use_reentrant=use_reentrant)):
        head = build()
        partialfc.RowSGD(head, lr=0.1)
        backbone.zero_grad()
        head(run(x), labels).backward()
        gradients.append(backbone.weight.grad.clone())
    assert torch.equal(*gradients)


def pickled_head_of_a_subgroup():
    """Each rank alone in a group, of a job of two."""
    groups = [torch.distributed.new_group([rank]) for rank in range(2)]
    own = groups[torch.distributed.get_rank()]
    head = partialfc.PartialFC(8, 10, margin=partialfc.ArcFace(), process_group=own)
    pickle.loads(pickle.dumps(head))


def test_a_pickled_head_of_a_subgroup_is_told_the_way(rank_outcomes):
    for outcome in rank_outcomes(pickled_head_of_a_subgroup, 2):
        assert "build it with its process_group, and load its state_dict" in str(outcome)
