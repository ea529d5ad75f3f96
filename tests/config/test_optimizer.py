"""The section optimizer: the centres' own rates, and betas."""

import pytest

from tests.config.cases import failure, small


def test_the_centres_take_the_backbones_rates_unless_told_and_the_given_ones_stay() -> None:
    config = small()
    assert config.optimizer.head_lr is None
    assert config.optimizer.effective_head_lr == 0.1
    assert config.optimizer.effective_head_weight_decay == 5e-4
    config = small("optimizer.head_lr=0.2", "optimizer.head_weight_decay=0")
    assert config.optimizer.effective_head_lr == 0.2
    assert config.optimizer.effective_head_weight_decay == 0.0


@pytest.mark.parametrize("bad", ["0.9", "[0.9]", "[0.9, 0.9, 0.9]", "'ab'"])
def test_betas_are_two(bad: str) -> None:
    assert "optimizer.betas: must be a list of two numbers, got " in failure(
        f"optimizer={{name: adamw, lr: 1, betas: {bad}}}"
    )


@pytest.mark.parametrize("bad", ["1", "-0.1", "true", "x"])
def test_each_beta_has_its_rule(bad: str) -> None:
    assert "optimizer.betas.1: must be " in failure(f"optimizer={{name: adamw, lr: 1, betas: [0.9, {bad}]}}")
