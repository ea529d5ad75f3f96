"""A checkpoint that version 0.1.0 wrote: a run goes on from it as that version did."""

import shutil

import pytest

from tests.paths import FIXTURES
from tests.train_cases import small_config
from tests.training.cases import EXACT, losses, run

# What version 0.1.0 logged in steps 8 to 12 when it resumed itself.
LOSSES = [2.074276923423045, 1.2073875024525835, 1.4175354382571541, 0.7305038954225169, 0.7837794119002208]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_any_number_of_ranks_goes_on_from_it(run_ranks, folder, world_size):
    shutil.copytree(FIXTURES / "run_0.1.0", folder / "run")
    for result in run_ranks(run, world_size, small_config(folder, **EXACT)):
        assert (result["finished"], result["step"], result["samples"]) == (True, 12, 12 * 24)
    assert losses(folder) == pytest.approx(LOSSES, abs=1e-9)
