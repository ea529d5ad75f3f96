"""A head built too early or wrapped too widely says so."""

import contextlib

import torch

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
