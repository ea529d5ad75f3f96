"""A trained backbone out of a checkpoint."""

import pytest
import torch

from partialfc.deploy.trained import load_trained
from tests import train_cases
from tests.train_cases import small_config
from tests.training.cases import run


@pytest.fixture
def folder(tmp_path):
    train_cases.write_data(tmp_path)
    return tmp_path


def test_the_trained_backbone_is_loaded_for_use(folder):
    result = run(small_config(folder))
    trained = load_trained(folder / "run")
    assert trained.step == 12
    assert (trained.image_size, trained.channels, trained.embedding_size) == (8, 1, 16)
    for name, tensor in trained.backbone.state_dict().items():
        assert torch.equal(tensor, result["backbone"][name])
