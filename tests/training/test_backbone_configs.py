"""configs/vargfacenet.yaml and configs/vit.yaml, as partialfc train CONFIG runs them, for two steps."""

import pytest

from partialfc.config import load_config
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from tests.paths import ROOT
from tests.training.cases import losses, run

SMALL = {
    "vargfacenet": "backbone.options={blocks: [1, 1, 1]}",
    "vit": "backbone.options={patch_size: 8, drop_path: 0.1, patch_mask: 0.3, depth: 2}",
}


@pytest.mark.parametrize("name", SMALL)
def test_a_config_trains_and_verifies(folder, name):
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=40, seed=0))
    ended = run(
        load_config(
            ROOT / "configs" / f"{name}.yaml",
            [
                *(SMALL[name], "train.steps=2", "train.batch_size=12", "train.log_every=1"),
                *("schedule.warmup_steps=1", "checkpoint.every_steps=2", "metrics.port=null"),
                *(f"run.dir={folder / 'run'}", f"data.train={folder / 'train.rec'}"),
                *(f"verification.sets.unseen={folder / 'pairs.bin'}", "verification.folds=2"),
            ],
        )
    )
    assert ended["finished"]
    assert len(losses(folder)) == 2
