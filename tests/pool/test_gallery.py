"""The gallery network follows the probe, and gives an image the same feature in whatever batch it comes."""

import copy

import pytest
import torch
from torch import nn

import partialfc


def a_probe() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.PReLU())


def trained(probe: nn.Module) -> nn.Module:
    """Other parameters, running statistics and counts."""
    probe(torch.randn(8, 4) * 3 + 1)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter += torch.randn_like(parameter)
    return probe


@pytest.mark.parametrize("skip", [None, torch.tensor(0.0), torch.tensor(1.0)], ids=["-", "moves", "skipped"])
def test_parameters_follow_as_a_moving_average_and_statistics_at_once(skip):
    probe = a_probe()
    gallery = partialfc.GalleryNetwork(probe, momentum=0.75)
    before = copy.deepcopy(gallery.network.state_dict())
    gallery.follow(trained(probe), skip)
    names = {name for name, _ in probe.named_parameters()}
    for name, now in gallery.network.state_dict().items():
        to = probe.state_dict()[name]
        moved = 0.75 * before[name] + 0.25 * to if name in names else to
        expected = before[name] if skip is not None and skip else moved
        torch.testing.assert_close(now, expected, msg=name)


@pytest.mark.parametrize("skip", [None, torch.tensor(0.0)], ids=["-", "moves"])
def test_a_float64_network_follows_by_a_float64_momentum(skip):
    probe = a_probe().double()
    gallery = partialfc.GalleryNetwork(probe, momentum=0.99)
    before = copy.deepcopy(gallery.network[0].weight)
    with torch.no_grad():
        probe[0].weight += 1
    gallery.follow(probe, skip)
    moved = 0.99 * before + (1 - 0.99) * probe[0].weight
    torch.testing.assert_close(gallery.network[0].weight, moved, atol=1e-14, rtol=0)


def test_a_skipped_step_keeps_what_is_not_finite_out():
    probe = a_probe()
    gallery = partialfc.GalleryNetwork(probe)
    with torch.no_grad():
        probe[0].weight[0] = float("nan")
    gallery.follow(probe, torch.tensor(1.0))
    assert gallery.network[0].weight.isfinite().all()


def test_it_follows_whatever_the_default_device():
    probe = trained(a_probe())
    gallery = partialfc.GalleryNetwork(a_probe(), momentum=0.0)
    with torch.device("meta"):
        gallery.follow(probe)
    torch.testing.assert_close(gallery.network[0].weight, probe[0].weight)


def test_a_network_that_it_is_no_copy_of_is_refused():
    """Such as a wrapped one, whose names differ."""
    probe = a_probe()
    gallery = partialfc.GalleryNetwork(probe)
    with pytest.raises(ValueError, match=r"probe has the parameters \['0.0.weight', .* its \.module"):
        gallery.follow(nn.Sequential(probe))


def test_it_has_no_gradient_and_sees_each_image_alone():
    probe = trained(a_probe())
    gallery = partialfc.GalleryNetwork(probe).train()
    x = torch.randn(6, 4)
    features = gallery(x)
    assert not features.requires_grad
    assert not any(parameter.requires_grad for parameter in gallery.parameters())
    torch.testing.assert_close(features[:1], gallery(x[:1]))
    torch.testing.assert_close(features, probe.eval()(x))
    assert next(probe.parameters()).requires_grad


@pytest.mark.parametrize("momentum", [-0.1, 1.0, "0.9", float("nan")])
def test_a_momentum_out_of_range_is_refused(momentum):
    with pytest.raises(ValueError, match="momentum is"):
        partialfc.GalleryNetwork(a_probe(), momentum=momentum)
