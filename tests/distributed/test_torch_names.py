"""Collectives have other names in older releases of torch; there and here they work without a warning."""

import importlib
import warnings

import pytest
import torch
import torch.distributed as dist

from partialfc.distributed import torch_names

OLDER = {"all_gather_single": "all_gather_into_tensor", "reduce_scatter_single": "reduce_scatter_tensor"}


def exchanged(older: bool) -> tuple[list[float], list[float]]:
    """What a rank of two gets, with torch's own names, or with those alone that torch had before 2.13."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, old_name in OLDER.items():
            if older and hasattr(dist, name):
                patch.setattr(dist, old_name, getattr(dist, name))
                patch.delattr(dist, name)
        importlib.reload(torch_names)
        mine = torch.tensor([1.0, 2.0]) * (1 + dist.get_rank())
        all_of_them, sum_of_one = mine.new_empty(4), mine.new_empty(1)
        torch_names.all_gather_single(all_of_them, mine)
        torch_names.reduce_scatter_single(sum_of_one, mine)
    importlib.reload(torch_names)
    return all_of_them.tolist(), sum_of_one.tolist()


@pytest.mark.parametrize("older", [False, True], ids=["this torch", "older names"])
def test_collectives_by_the_names_of_every_torch(run_ranks, older):
    gathered = [1.0, 2.0, 2.0, 4.0]
    assert run_ranks(exchanged, 2, older) == [(gathered, [3.0]), (gathered, [6.0])]
