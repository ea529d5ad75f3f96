"""Vision transformers: any image and patch size, patches that are masked and branches that are dropped."""

import pytest
import torch
from torch import Tensor, nn

from partialfc.backbones.drop_path import DropPath
from partialfc.backbones.vit import VisionTransformer
from partialfc.errors import ConfigError
from tests.backbones.cases import images, small


def tiny(**options: object) -> VisionTransformer:
    """Two narrow blocks; options as in a config."""
    built = small("vit_tiny", **{"width": 24, "depth": 2, **options})  # type: ignore[arg-type]
    assert isinstance(built, VisionTransformer)
    return built


@pytest.mark.parametrize("patch_size", [8, 9, 14, 16])
@pytest.mark.parametrize("image_size", [112, 33, 32])
def test_an_image_has_as_many_whole_patches_as_fit(image_size: int, patch_size: int) -> None:
    network = tiny(image_size=image_size, patch_size=patch_size).train()
    side = image_size // patch_size
    assert network.map_shape == (24, side, side)
    assert network(images(image_size=image_size)).shape == (2, 24)
    assert network.feature_map(images(image_size=image_size)).shape == (2, 24, side, side)


@pytest.mark.parametrize("patch_size", [9, 16, 17], ids=["above half", "the image", "above the image"])
def test_an_image_of_one_patch_is_refused(patch_size: int) -> None:
    with pytest.raises(
        ConfigError, match=f"patch_size={patch_size}: must be at most half .* which is 16, so"
    ):
        tiny(image_size=16, patch_size=patch_size)
    assert tiny(image_size=16, patch_size=8).map_shape == (24, 2, 2)


def test_what_is_left_over_at_the_edges_is_left_out_half_on_each_side() -> None:
    network = tiny(image_size=21, patch_size=9).eval()  # 2 pixels on one side, 1 on the other
    image = images(1, image_size=21)
    expected = network(image)
    seen = torch.zeros_like(image)
    seen[..., 3:19, 3:19] = 1.0
    assert not torch.equal(network(image * seen), expected)
    framed = torch.ones_like(image)
    framed[..., :2, :] = framed[..., :, :2] = framed[..., 20, :] = framed[..., :, 20] = 0.0
    assert torch.equal(network(image * framed), expected)


def test_patches_are_masked_in_training_alone_and_anew_each_time() -> None:
    network = tiny(patch_mask=0.5)
    plain = tiny()
    missing, extra = plain.load_state_dict(network.state_dict(), strict=False)
    assert (missing, extra) == ([], ["mask_token"])
    assert torch.equal(network.eval()(images()), plain.eval()(images()))
    network.train()
    assert not torch.equal(network.feature_map(images()), network.feature_map(images()))


def test_a_masked_patch_is_the_learned_token_and_reaches_no_other() -> None:
    network = tiny(patch_mask=0.25, image_size=32).train()
    assert network.mask_token is not None
    tokens = network.feature_map(images(8)).flatten(2).transpose(1, 2)  # [B, L, width]
    masked = (tokens == network.mask_token).all(dim=2)
    assert masked.sum(dim=1).tolist() == [4] * 8  # of 16
    assert len({tuple(row) for row in masked.tolist()}) > 1

    batch = images(1).requires_grad_()
    tokens = network.feature_map(batch).flatten(2).transpose(1, 2)
    masked = (tokens == network.mask_token).all(dim=2)[0]
    tokens.square().sum().backward()
    assert batch.grad is not None
    patches = batch.grad[0, 0].unfold(0, 8, 8).unfold(1, 8, 8).flatten(2).flatten(0, 1)  # [L, pixels]
    assert torch.equal(patches.any(dim=1), ~masked)


@pytest.mark.parametrize(
    ("patch_mask", "shown"), [(0.9, 10), (0.7, 30), (0.3, 70), (0.1, 90), (0.995, 1), (0.105, 89)]
)
def test_as_many_patches_are_seen_as_the_share_leaves(patch_mask: float, shown: int) -> None:
    """Of 100, whatever 1 - patch_mask is rounded to; a part of a patch is none."""
    network = tiny(patch_mask=patch_mask, image_size=80).train()
    assert network.mask_token is not None
    tokens = network.feature_map(images(2, image_size=80)).flatten(2).transpose(1, 2)
    masked = (tokens == network.mask_token).all(dim=2)
    assert (100 - masked.sum(dim=1)).tolist() == [shown] * 2


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_a_pass_back_reaches_every_parameter_masked_or_not(training: bool) -> None:
    """DistributedDataParallel waits for the gradient of each; before its first step it evaluates."""
    network = tiny(patch_mask=0.25, drop_path=0.5).train(training)
    network(images()).sum().backward()
    assert [name for name, each in network.named_parameters() if each.grad is None] == []


def test_drop_path_rises_from_block_to_block() -> None:
    network = tiny(depth=5, drop_path=0.2)
    shares = [module.share for module in network.modules() if isinstance(module, DropPath)]
    assert shares == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])


def test_a_dropped_branch_is_dropped_for_whole_samples_and_the_mean_stays() -> None:
    layer, x = DropPath(0.25), torch.ones(4000, 2, 3)
    assert torch.equal(layer.eval()(x), x)
    torch.manual_seed(0)
    out = layer.train()(x)
    of_sample = out.flatten(1)
    assert torch.equal(of_sample, of_sample[:, :1].expand_as(of_sample))
    assert of_sample.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)


def test_attention_is_softmax_of_scaled_products() -> None:
    network = tiny(depth=1).double().eval()
    attention = network.blocks[0].get_submodule("attn")
    x = torch.randn(2, 5, 24, dtype=torch.float64)
    query, key, value = attention.get_submodule("qkv")(x).chunk(3, dim=2)
    heads = [(part.unflatten(2, (3, 8)).transpose(1, 2)) for part in (query, key, value)]
    assert torch.allclose(attention(x), plain_attention(*heads, attention.get_submodule("proj")))


def plain_attention(query: Tensor, key: Tensor, value: Tensor, proj: nn.Module) -> Tensor:
    weights = torch.softmax(query @ key.transpose(2, 3) / query.shape[3] ** 0.5, dim=3)
    mixed: Tensor = proj((weights @ value).transpose(1, 2).flatten(2))
    return mixed
