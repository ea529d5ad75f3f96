"""A run from its config alone."""

import torch

from partialfc.training.run import train
from tests.train_cases import small_config


def test_train_needs_no_process_group(folder, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert train(small_config(folder)) == 0
    assert not torch.distributed.is_initialized()
