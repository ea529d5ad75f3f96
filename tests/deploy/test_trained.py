"""A trained backbone out of a checkpoint."""

import pytest
import torch

import partialfc.trained
from partialfc.deploy.trained import load_trained
from tests import train_cases
from tests.paths import FIXTURES
from tests.train_cases import small_config
from tests.training.cases import run


@pytest.fixture
def folder(tmp_path):
    train_cases.write_data(tmp_path)
    return tmp_path


def test_the_trained_backbone_is_loaded_for_use(folder):
    result = run(small_config(folder))
    trained = load_trained(folder / "run", trust=["tests.train_cases"])
    assert trained.step == 12
    assert (trained.image_size, trained.channels, trained.embedding_size) == (8, 1, 16)
    for name, tensor in trained.backbone.state_dict().items():
        assert torch.equal(tensor, result["backbone"][name])


def test_the_backbone_of_an_old_checkpoint_is_loaded():
    """Version 0.1.0 wrote it; `partialfc.trained` is where that version had the function."""
    trained = partialfc.trained.load_trained(FIXTURES / "run_0.1.0", trust=["tests.train_cases"])
    assert trained.step == 7
    assert (trained.image_size, trained.channels, trained.embedding_size) == (8, 1, 16)
    with torch.no_grad():
        (embedding,) = trained.backbone(torch.linspace(-1, 1, 64).view(1, 1, 8, 8))
    assert embedding[:3].tolist() == pytest.approx([-0.16541721, 1.44261339, 0.49325664], abs=1e-8)
