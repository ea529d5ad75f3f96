"""backbone.checkpointing: a run with it ends as one without, to the bit; it is refused where it could not."""

import pytest

from partialfc.errors import ConfigError
from tests.train_cases import small_config
from tests.training.cases import assert_same_end, losses, moved, run

BACKBONES = {
    "convnet": {"widths": [8, 16], "blocks": [1, 1]},
    "vit_tiny": {
        "width": 24,
        "depth": 2,
        "patch_size": 2,
        "heads": 3,
        "drop_path": 0.3,
        "patch_mask": 0.3,
    },
}


@pytest.mark.parametrize(
    ("name", "world_size", "objective"),
    [
        *((name, world_size, "classification") for name in BACKBONES for world_size in (1, 2)),
        ("convnet", 2, "occlusion"),
    ],
)
def test_a_run_ends_the_same(run_ranks, folder, name, world_size, objective):
    """Micro-batches, BatchNorm shared over the ranks, and random branches among it."""
    sections = {
        "backbone": {"name": name, "options": BACKBONES[name]},
        "objective": {"name": objective},
        "train": {"steps": 3, "batch_size": 24, "accumulation": 2, "sync_batchnorm": True},
    }
    other = moved(folder, "other")
    plain = run_ranks(run, world_size, small_config(folder, **sections))
    changed = run_ranks(run, world_size, small_config(other, "backbone.checkpointing=true", **sections))
    assert_same_end(plain, changed)
    assert losses(folder) == losses(other)


def test_it_is_refused_with_a_compiled_backbone(folder):
    with pytest.raises(ConfigError, match="checkpointing and compile are both true"):
        small_config(folder, "backbone.checkpointing=true", "backbone.compile=true")


def test_a_backbone_without_blocks_is_named(folder):
    with pytest.raises(ConfigError, match=r"no blocks are found in tests\.train_cases:Tiny"):
        run(small_config(folder, "backbone.checkpointing=true", backbone={"name": "tests.train_cases:Tiny"}))
