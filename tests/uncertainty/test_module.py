"""The network of probabilistic embeddings: what it gives, what of it learns, what never moves."""

import copy
import math

import pytest
import torch
from torch import nn

from partialfc.errors import ConfigError
from partialfc.training.objectives.pfe import ProbabilisticObjective
from partialfc.uncertainty import MutualLikelihoodLoss, ProbabilisticEmbedding, UncertaintyModule, split
from tests.backbones.cases import ALL, images, small

D = 24


def network(name: str = "convnet") -> ProbabilisticEmbedding:
    torch.manual_seed(0)
    return ProbabilisticEmbedding(small(name), D)


@pytest.mark.parametrize("name", ALL)
def test_means_are_the_backbones_unit_embeddings(name):
    model = network(name)
    with torch.no_grad():
        mean, log_variance = split(model(images(3)))
        expected = nn.functional.normalize(small(name).eval()(images(3)))
    torch.testing.assert_close(mean, expected, atol=1e-6, rtol=0)
    assert log_variance.shape == (3, D)


def test_first_variances_are_almost_equal_and_sum_to_the_reference_codes():
    _, log_variance = split(network()(images(4)))
    assert log_variance.exp().sum(1).tolist() == pytest.approx([512 * math.exp(-7)] * 4, rel=1e-2)


def test_only_the_uncertainty_learns():
    model = network().train()
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        f"uncertainty.{name}"
        for name in ("scale", "shift", "fc1.weight", "bn1.weight", "bn1.bias", "fc2.weight")
    ]
    assert not any(part.training for part in model.backbone.modules())
    before = copy.deepcopy(model.backbone.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    loss, labels = MutualLikelihoodLoss(D), torch.arange(8) % 4
    first = None
    for _ in range(20):
        value = loss(model(images(8)), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        first = value.item() if first is None else first
    assert value.item() < first
    assert all(torch.equal(before[name], after) for name, after in model.backbone.state_dict().items())
    assert all(p.grad is None for p in model.backbone.parameters())


def test_a_batch_changes_an_image_in_training_alone():
    model = network().train()
    assert not torch.equal(model(images(4))[:2], model(images(2)))
    model.eval()
    torch.testing.assert_close(model(images(4))[:2], model(images(2)), atol=1e-5, rtol=0)


def test_under_autocast_variances_are_computed_in_the_weights_dtype():
    model = network().eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert model(images(2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("of_backbone", "of_uncertainty"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
    ids=["float64", "float32", "bfloat16"],
)
def test_variances_are_computed_in_the_backbones_dtype_float32_at_least(of_backbone, of_uncertainty):
    model = ProbabilisticEmbedding(small("convnet").to(of_backbone), D).train()
    assert {p.dtype for p in model.uncertainty.parameters()} == {of_uncertainty}
    gaussians = model(images(4).to(of_backbone))
    assert gaussians.dtype == of_uncertainty
    rounded = gaussians[:, D:].to(torch.float32).to(gaussians.dtype)
    assert torch.equal(gaussians[:, D:], rounded) == (of_uncertainty == torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_losses_of_micro_batches_are_summed_in_the_dtype_of_the_variances(dtype):
    objective = ProbabilisticObjective(ProbabilisticEmbedding(small("convnet").to(dtype), D), D)
    assert objective.math_dtype == dtype


def test_a_backbone_without_a_feature_map_is_refused():
    with pytest.raises(ConfigError, match="backbone Flatten: a probabilistic embedding needs its last"):
        ProbabilisticEmbedding(nn.Flatten(), 4)
    with pytest.raises(ValueError, match="features is 0; it must be a whole number of at least 1"):
        UncertaintyModule(0, 4)
