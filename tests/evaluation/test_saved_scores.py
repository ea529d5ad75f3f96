"""What a verification leaves for a report: scores, and all that their intervals need, without the images."""

import numpy as np
import pytest
import torch
from torch import nn

from partialfc.data.pairs.draw import make_pairs
from partialfc.data.sources.source import open_source
from partialfc.distributed.world import World
from partialfc.evaluation.intervals import with_intervals
from partialfc.evaluation.sets import VerificationSets
from partialfc.evaluation.verification import verify
from tests.train_cases import SIZE, write_data


@pytest.mark.parametrize("step", [0, 7])
def test_intervals_of_the_file_are_those_of_the_pairs(tmp_path, step):
    pairs = make_pairs(open_source(write_data(tmp_path / "data")), pairs=120, seed=0)
    sets = VerificationSets(
        {"seen": pairs},
        World(None, 0, 1),
        tmp_path / "verification",
        folds=4,
        image_size=SIZE,
        channels=1,
        batch_size=64,
        device=torch.device("cpu"),
        size=SIZE**2,
    )
    ((name, result),) = sets.verify(nn.Flatten(), step)
    with np.load(tmp_path / "verification" / f"{name}.{'latest' if step else 'untrained'}.npz") as saved:
        found = {key: saved[key] for key in saved}
    assert (found["same"] == pairs.same).all()
    assert (found["step"], found["folds"]) == (step, 4)
    expected = with_intervals(result, found["scores"], pairs.same, pairs.identities, folds=4, replicates=50)
    plain = verify(found["scores"], found["same"], folds=int(found["folds"]))
    again = with_intervals(
        plain, found["scores"], found["same"], found["identities"], folds=int(found["folds"]), replicates=50
    )
    assert again.intervals == expected.intervals
    assert again.accuracy == result.accuracy
