"""RowAdamW against torch.optim.AdamW, one for each row."""

import pytest
import torch

from tests.head.optim.cases import dense_run, per_row, train


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("sample_rate", [1.0, 0.1])
def test_adamw_is_torchs_on_each_rows_own_steps(run_ranks, world_size, sample_rate):
    options = {"lr": 0.01, "weight_decay": 0.1}
    results = run_ranks(train, world_size, "RowAdamW", options, 100, sample_rate)
    losses, weight = dense_run(results, 100, per_row(torch.optim.AdamW, **options))
    assert results[0]["losses"] == pytest.approx(losses, abs=1e-9, rel=0)
    torch.testing.assert_close(torch.cat([r["weight"] for r in results]), weight, atol=1e-9, rtol=0)
