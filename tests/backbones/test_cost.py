"""What backbones cost, against the published figures and against what a network really keeps."""

import pytest
import torch
from torch import nn

from partialfc.backbones.checkpointing import checkpointed
from partialfc.backbones.cost import backbone_cost
from partialfc.errors import ConfigError
from tests.backbones.cases import small
from tests.backbones.test_checkpointing import kept_bytes


@pytest.mark.parametrize(
    ("name", "options", "gflops"),
    [
        ("iresnet18", {}, 5.22),  # InsightFace's model zoo says 5.2
        ("iresnet50", {}, 12.62),  # 12.6
        ("vargfacenet", {}, 1.025),  # the paper, table 2: 1.022
        # 144 patches of DeiT-Ti's blocks, and 4·144²·192 of attention in each of them
        ("vit_tiny", {"patch_size": 9}, 2 * 144 * (12 * 12 * 192**2 + 243 * 192 + 192 * 512) / 1e9 + 0.191),
    ],
)
def test_flops_are_those_of_the_papers(name: str, options: dict[str, object], gflops: float) -> None:
    assert backbone_cost(name, options=options).flops / 1e9 == pytest.approx(gflops, rel=0.002)


@pytest.mark.parametrize("name", ["iresnet18", "vargfacenet", "vit_tiny", "convnet"])
def test_what_is_kept_is_what_a_pass_forward_keeps(name: str) -> None:
    cost = backbone_cost(name, embedding_size=24, image_size=32, channels=1)
    plain = small(name)
    # The batch's rest: weights of an embedding layer in another dtype, BatchNorm's statistics and the like.
    assert 4 * cost.kept == pytest.approx(kept_bytes(plain), rel=0.1)
    assert cost.kept_by_checkpointing is not None
    assert 4 * cost.kept_by_checkpointing == pytest.approx(
        kept_bytes(checkpointed(plain, name=name)), rel=0.2
    )
    assert cost.parameters == sum(parameter.numel() for parameter in plain.parameters())


def test_counting_leaves_random_numbers_and_modes_alone() -> None:
    before = torch.get_rng_state()
    backbone_cost("convnet", image_size=16)
    assert torch.equal(torch.get_rng_state(), before)
    assert nn.Linear(2, 2).weight.isfinite().all()


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown backbone 'iresnet5'"):
        backbone_cost("iresnet5")
