"""A run with a backbone of timm: from weights in a file to a trained network, which needs no trust."""

import torch

from partialfc.backbones.timm_model import import_timm
from partialfc.trained import load_trained
from tests.train_cases import small_config, write_data
from tests.training.cases import run


def test_a_run_starts_from_timms_weights_and_is_loaded_again(tmp_path):
    write_data(tmp_path)
    timm = import_timm()
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "timm.pt")
    backbone = {"name": "timm:test_resnet", "weights": str(tmp_path / "timm.pt"), "checkpointing": True}
    ended = run(small_config(tmp_path, "train.steps=3", backbone=backbone))
    (tmp_path / "timm.pt").unlink()
    trained = load_trained(tmp_path / "run")
    assert trained.step == 3
    for name, tensor in trained.backbone.state_dict().items():
        assert torch.equal(tensor, ended["backbone"][name]), name
    assert trained(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).shape == (1, 16)
