"""Running statistics, kept and put back."""

import pytest
import torch
from torch import nn

from partialfc.training.kept_buffers import KeptBuffers
from tests.torch_calls import TorchCalls

YES, NO = torch.ones(()), torch.zeros(())


def network() -> nn.Module:
    return nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(20)))


@pytest.mark.parametrize("where", [None, YES], ids=["always", "where they are to"])
def test_buffers_come_back_as_they_were(where):
    one, other = network(), nn.BatchNorm1d(3)
    kept = KeptBuffers(lambda: [one, other])
    for _ in range(2):
        kept.keep()
        before = [buffer.clone() for module in (one, other) for buffer in module.buffers()]
        one(torch.randn(8, 4))
        other.running_mean = torch.full((3,), torch.nan)  # a new tensor in place of the old one
        kept.restore(where)
        after = [buffer for module in (one, other) for buffer in module.buffers()]
        torch.testing.assert_close(after, before, atol=0, rtol=0)
    one.double()
    kept.keep()
    one(torch.randn(8, 4, dtype=torch.float64))
    kept.restore(YES)
    assert {b.dtype for b in one.buffers()} == {torch.float64, torch.int64}


def test_buffers_stay_as_they_are_where_nothing_is_to_be_undone():
    module = network()
    kept = KeptBuffers(lambda: [module])
    kept.keep()
    module(torch.randn(8, 4))
    before = [buffer.clone() for buffer in module.buffers()]
    kept.restore(NO)
    torch.testing.assert_close(list(module.buffers()), before, atol=0, rtol=0)


def test_buffers_of_a_dtype_are_handled_in_few_calls():
    """However many there are."""
    modules = [network()]
    kept = KeptBuffers(lambda: modules)
    with TorchCalls() as calls:
        kept.keep()
        kept.restore(NO)
    operations = {name: count for name, count in calls.counts.items() if "view" not in name}
    assert operations == {"cat": 4, "ne": 2, "where": 2, "_foreach_copy_": 2, "split_with_sizes": 2}
    KeptBuffers(lambda: [nn.Linear(2, 2)]).keep()
