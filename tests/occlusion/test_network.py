import copy

import pytest
import torch
from torch import nn

from partialfc.backbones.checkpointing import checkpointed
from partialfc.distributed import World
from partialfc.errors import CheckpointError, ConfigError
from partialfc.occlusion import OcclusionNetwork, SegmentationLoss
from tests.backbones.cases import images as small_images
from tests.backbones.cases import small
from tests.occlusion.cases import SIDE, SIZE, D, N, Plain, images, network

places = pytest.mark.parametrize("place", ["map", "image"])


def test_each_image_is_there_as_it_is_and_then_masked():
    net, x = network(), images()
    found = net(x)
    assert found.embeddings.shape == (2 * N, D)
    assert found.masks.shape == found.predicted.shape == (2 * N, SIDE, SIDE)
    torch.testing.assert_close(found.embeddings[::2], net.backbone(x))
    assert not found.masks[::2].any()
    hidden = found.masks[1::2]
    assert ((hidden == 0) | (hidden == 1)).all()
    assert hidden.flatten(1).any(1).all()


def test_masked_cells_of_the_map_are_zero():
    net, x = network(unmasked=False, at="map"), images()
    found = net(x)
    features = net.backbone.feature_map(x) * (1 - found.masks[:, None])
    torch.testing.assert_close(found.embeddings, net.backbone.embed_map(features))
    torch.testing.assert_close(found.predicted, net.branch(features))


def test_pixels_under_masked_cells_have_one_level():
    """The backbone's weights are such that an embedding is an image's pixels."""
    net, x = network(unmasked=False, at="image", ways=["half"]), images()
    seen = []
    net.backbone.conv.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    found = net(x)
    clear, covered = seen
    pixels = found.masks.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None].bool()
    assert torch.equal(clear, x)
    torch.testing.assert_close(covered[~pixels], x[~pixels])
    levels = [image[mask] for image, mask in zip(covered, pixels, strict=True)]
    assert all(each.std() < 1e-12 and -1 <= each[0] <= 1 for each in levels)
    assert len({round(float(each[0]), 6) for each in levels}) == N


@pytest.mark.parametrize(
    ("way", "sizes"), [("region", {1, 2, 4}), ("half", {8}), ("random_half", {8})], ids=lambda each: str(each)
)
def test_each_way_has_its_masks(way, sizes):
    found = network(ways=[way], unmasked=False)(images(200)).masks.flatten(1)
    assert {int(each) for each in found.sum(1)} == sizes
    kinds = len({tuple(mask.tolist()) for mask in found})
    assert kinds == {"region": 16, "half": 4}.get(way, kinds)
    assert kinds > 3


def test_the_ways_are_drawn_equally_often_and_the_share_is_masked():
    found = network(unmasked=False, share=0.6)(images(2000)).masks.flatten(1)
    assert found.any(1).double().mean() == pytest.approx(0.6, abs=0.04)
    assert (found.sum(1) == SIDE * SIDE // 2).double().mean() == pytest.approx(0.4, abs=0.04)


def test_draws_that_are_rounded_to_0_and_1_are_drawn_too():
    net = network().float()
    for value in (0.0, 1.0):
        count = net.of_way.shape[1]
        numbers = torch.full((2, 3 + count + 4 * SIDE * SIDE), value, dtype=torch.float64)
        net._numbers = lambda number, numbers=numbers: numbers[:number]
        found = net(images(2).float())
        assert all(part.isfinite().all() for part in found)


def test_masks_follow_the_seed_the_step_and_the_place():
    x = images()
    first, second = network(), network()
    assert torch.equal(first(x).masks, second(x).masks)
    again = first(x).masks
    assert not torch.equal(again, network()(x).masks)  # the second step
    second.step = 1
    assert torch.equal(second(x).masks, again)
    later = network(first=4, ways=["half"])
    assert torch.equal(later(x[4:]).masks, network(ways=["half"])(x).masks[8:])
    assert not torch.equal(network(seed=4)(x).masks, network()(x).masks)


def test_evaluation_mode_does_not_move_the_step():
    net = network().eval()
    net(images())
    assert net.step == 0


@places
def test_the_generator_climbs_the_loss_that_the_backbone_descends(place):
    """Of a loss that only the features of the left half bear, the generator learns to hide that half."""
    net = network(at=place, ways=["half"], unmasked=False)
    with torch.no_grad():
        net.backbone.fc.weight.view(D, 3, SIDE, SIDE)[..., SIDE // 2 :] = 0
    optimizer = torch.optim.Adam(net.generator.parameters(), lr=0.03)
    x = images(64)
    clear = net.backbone(x).detach()
    for _ in range(80):
        optimizer.zero_grad()
        distance = (net(x).embeddings - clear).square().sum(1).mean()  # 0 where nothing is hidden
        distance.backward()
        optimizer.step()
    left = net(x).masks[:, :, 0].all(1)
    assert left.double().mean() > 0.8  # one of four at the start


@places
@pytest.mark.parametrize("adversary", [0.0, 0.5, 2.0])
def test_the_generators_gradient_has_the_factor_and_the_backbone_none_of_it(place, adversary):
    def gradients(factor):
        net = network(at=place, adversary=factor)
        net(images()).embeddings.square().sum().backward()
        both = net.generator, net.backbone
        return [torch.cat([p.grad.flatten() for p in each.parameters()]) for each in both]

    (one, backbone), (found, same) = gradients(1.0), gradients(adversary)
    torch.testing.assert_close(found, adversary * one)
    torch.testing.assert_close(same, backbone)
    assert one.abs().max() > 0


def test_the_branch_teaches_the_backbone_and_not_the_generator():
    net = network(at="map")
    found = net(images())
    SegmentationLoss()(found.predicted, found.masks).backward()
    assert all(p.grad is None or not p.grad.any() for p in net.generator.parameters())
    assert net.backbone.conv.weight.grad.any()
    assert all(p.grad.any() for p in net.branch.parameters())


@places
@pytest.mark.parametrize("momentum", [0.1, None], ids=str)
def test_running_statistics_are_those_of_unmasked_images(place, momentum):
    net = network(at=place)
    norms = nn.BatchNorm2d(3, momentum=momentum), nn.BatchNorm1d(D, momentum=momentum)
    net.backbone.conv, net.backbone.fc = (
        nn.Sequential(each, norm).double()
        for each, norm in zip((net.backbone.conv, net.backbone.fc), norms, strict=True)
    )
    alone = copy.deepcopy(net.backbone)
    for _ in range(2):
        found = net(images())
        torch.testing.assert_close(found.embeddings[::2], alone(images()))
    assert found.embeddings[1::2].mean(0).abs().max() < 1e-6  # normalised among themselves
    torch.testing.assert_close(dict(net.backbone.named_buffers()), dict(alone.named_buffers()))
    assert all(norm.track_running_stats for norm in norms)
    frozen = net.backbone.conv[1].eval()
    before = frozen.running_mean.clone()
    net(images())
    assert torch.equal(frozen.running_mean, before)


@places
def test_one_copy_of_each_image_moves_the_statistics_once(place):
    """At the image they are of the images that are learned, which are computed by the second pass."""
    net = network(at=place, unmasked=False)
    norm = nn.BatchNorm2d(3, momentum=1.0).double()
    net.backbone.conv = nn.Sequential(net.backbone.conv, norm)
    seen = []
    net.backbone.conv[0].register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    net(images())
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, seen[-1].mean((0, 2, 3)))
    assert len(seen) == 1 + (place == "image")


@pytest.mark.parametrize("amp", [False, True], ids=["float32", "autocast"])
def test_a_pass_that_only_the_generator_looks_at_keeps_nothing(amp):
    """And what autocast cached in it is not taken for weights without a gradient in the other one."""
    net = network(at="image", unmasked=False).float()
    asked = []
    net.backbone.conv.register_forward_hook(lambda module, inputs, output: asked.append(output.requires_grad))
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        found = net(images().float())
    found.embeddings.float().square().sum().backward()
    assert asked == [False, True]
    assert all(p.grad.any() for part in (net.backbone, net.generator) for p in part.parameters())


@places
@pytest.mark.parametrize("unmasked", [False, True], ids=["masked_alone", "both"])
def test_a_batch_may_be_empty(place, unmasked):
    net = network(at=place, unmasked=unmasked)
    found = net(images(0))
    assert found.embeddings.shape == (0, D)
    assert found.masks.shape == found.predicted.shape == (0, SIDE, SIDE)
    loss = found.embeddings.square().sum() + SegmentationLoss()(found.predicted, found.masks)
    loss.backward()
    assert not any(p.grad.any() for p in net.parameters() if p.grad is not None)


class Doubled(Plain):
    """In float64, of images of any dtype."""

    def feature_map(self, images):
        return super().feature_map(images.double())


@places
def test_the_generators_gradient_is_float64_all_the_way_in_a_network_of_float64(place):
    """The same for images of float32 as for their values in float64."""
    torch.manual_seed(0)
    backbone, found = Doubled().double(), []
    x = images().float()
    for batch in (x, x.double()):
        net = OcclusionNetwork(copy.deepcopy(backbone), seed=3, at=place)
        net.generator.load_state_dict(network(hidden=32).generator.state_dict())
        net(batch).embeddings.square().sum().backward()
        found.append([p.grad for p in net.generator.parameters()])
    torch.testing.assert_close(*found, atol=0, rtol=1e-14)


@pytest.mark.parametrize("unmasked", [False, True], ids=["masked_alone", "both"])
@pytest.mark.parametrize("name", ["convnet", "iresnet18", "mobilefacenet", "vargfacenet", "vit_tiny"])
@places
def test_checkpointing_changes_nothing(place, name, unmasked):
    """Though running statistics are off only while masked images pass forward."""
    results = []
    for change in (lambda backbone: backbone, lambda backbone: checkpointed(backbone, name=name)):
        net = OcclusionNetwork(change(small(name)), seed=0, at=place, unmasked=unmasked).train()
        torch.manual_seed(1)
        net(small_images(4)).embeddings.square().sum().backward()
        gradients = {key: p.grad for key, p in net.named_parameters() if p.grad is not None}
        results.append({**gradients, **dict(net.backbone.named_buffers())})
    plain, changed = results
    assert plain.keys() == changed.keys()
    assert all(torch.equal(tensor, changed[key]) for key, tensor in plain.items())


def gradients_of(place, sizes):
    """All gradients of a step on this rank's part of the batch, of a loss that is a mean over all ranks."""
    world = World.of()
    begin = sum(sizes[: world.rank])
    net = network(at=place, first=begin)
    whole = nn.parallel.DistributedDataParallel(net) if world.size > 1 else net
    for _ in range(2):
        found = whole(images()[begin : begin + sizes[world.rank]])
        mean = found.embeddings.square().sum() / (2 * N) * world.size
        (mean + SegmentationLoss()(found.predicted, found.masks)).backward()
    return {name: p.grad for name, p in net.named_parameters()}


@places
@pytest.mark.parametrize("sizes", [[6, 6], [7, 1, 4]], ids=["two", "three_uneven"])
def test_ranks_have_the_masks_and_gradients_of_one_process(run_ranks, place, sizes):
    (expected,) = run_ranks(gradients_of, 1, place, [N])
    for found in run_ranks(gradients_of, len(sizes), place, sizes):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10)


def test_autocast_and_channels_last_give_finite_gradients():
    net = network().float()
    x = images().float().to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        found = net(x)
    (found.embeddings.float().square().mean() + SegmentationLoss()(found.predicted, found.masks)).backward()
    assert found.predicted.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ways": []}, "ways is .*one or more of region, half, random_half"),
        ({"ways": ["third"]}, "ways is .*'third'"),
        ({"ways": "half"}, "ways is 'half'"),
        ({"ways": ["half", "half"]}, "each once"),
        ({"size": 0.0}, "size is 0.0"),
        ({"size": 1.5}, "size is 1.5"),
        ({"share": 0}, "share is 0"),
        ({"share": float("nan")}, "share is nan"),
        ({"at": "pixels"}, "at is 'pixels'; it must be one of map, image"),
        ({"adversary": -1}, "adversary is -1"),
        ({"landmarks": []}, "landmarks is .*leave it out"),
        ({"landmarks": [(0.5, 1.2)]}, "landmarks is .*0..1"),
        ({"landmarks": [(0.5,)]}, "landmarks is .*x, y"),
        ({"hidden": 0}, "hidden is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"first": -1}, "first is -1"),
        ({"unmasked": 1}, "unmasked is 1"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(options, says):
    with pytest.raises(ValueError, match=says):
        network(**options)


def test_what_is_beside_the_backbone_is_taken_over_or_refused():
    first, second = network(), network(seed=4)
    with torch.no_grad():
        first.branch.layers[0].weight.add_(1)
    second.load_beside_backbone(first.beside_backbone())
    assert torch.equal(second.branch.layers[0].weight, first.branch.layers[0].weight)
    for tensors in (
        {},
        network(hidden=5).beside_backbone(),
        first.beside_backbone() | {"more": torch.ones(1)},
    ):
        with pytest.raises(
            CheckpointError, match=r"^its generator and branch of occlusion do not fit[^\n]*$"
        ):
            second.load_beside_backbone(tensors)


def test_a_backbone_needs_a_feature_map_of_some_cells():
    with pytest.raises(ConfigError, match=r"Linear.*occlusion needs its last feature map"):
        OcclusionNetwork(nn.Linear(SIZE, D), seed=0)
    small = Plain()
    small.map_shape = (3, 1, 1)
    with pytest.raises(ConfigError, match=r"1 x 1.*2 x 2"):
        OcclusionNetwork(small, seed=0)
