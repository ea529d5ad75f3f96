"""Row optimizers of a head with a bias and with sub-centres, against dense optimizers in float64."""

from typing import Any

import pytest
import torch

import partialfc
from partialfc.head.initial import normal_rows
from tests.head.optim.cases import SGD, batch, learning_rate
from tests.head.test_bias import C, D, build
from tests.head.test_variants import Raw, Variant, dense

STEPS = 80
CENTRES_ALONE = {"without a bias, 2 centres": (False, 2)}
KINDS = {"bias": (True, 1), "bias, 2 centres": (True, 2), **CENTRES_ALONE}
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("RowSGD", SGD | {"lr": 0.05}),
    "frozen": ("RowSGD", SGD | {"lr": 0.05, "unsampled": "frozen"}),
    "adamw": ("RowAdamW", {"lr": 0.01, "weight_decay": 0.1}),
}


class OneBatch:
    """What `dense` of test_variants asks of a case."""

    def __init__(self, step: int) -> None:
        self._step = step

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        return batch(self._step)


@pytest.mark.parametrize("sample_rate", [1.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_and_biases_move_as_dense_ones(name, kind, sample_rate):
    """With a changing learning rate, and a flush in the middle."""
    (bias, k), (make, options) = KINDS[kind], OPTIMIZERS[name]
    head = build(bias=bias, k=k, sample_rate=sample_rate)
    with torch.no_grad():
        head.weight.mul_(30)
    optimizer = getattr(partialfc, make)(head, **options)
    weight = (30 * normal_rows(0, C, k * D, seed=0, dtype=torch.float64)).requires_grad_()
    of_bias = torch.zeros(C, dtype=torch.float64).requires_grad_()
    variant = Variant("raw with a bias" if bias else "raw", sub_centers=k, num_classes=C)
    moved = [weight, of_bias] if bias else [weight]
    every_row = name == "dense" or sample_rate == 1.0
    reference = Dense(moved, make, {k: v for k, v in options.items() if k != "unsampled"}, whole=every_row)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = options["lr"] * learning_rate(step)
        embeddings, labels = batch(step)
        loss = head(embeddings.requires_grad_(), labels)
        loss.backward()
        optimizer.step()
        expected, _ = dense(variant, OneBatch(step), weight, of_bias, head.last_sample, step)
        weight.grad = of_bias.grad = None
        expected.backward()
        assert loss.item() == pytest.approx(expected.item(), abs=1e-10, rel=1e-10)
        reference.step(head.last_sample, options["lr"] * learning_rate(step))
        if step == STEPS // 2:
            optimizer.flush()
    state = head.state_dict()
    torch.testing.assert_close(state["weight"], weight.detach(), atol=1e-10, rtol=1e-10)
    if bias:
        assert of_bias.abs().max() > 0
        torch.testing.assert_close(state["bias"], of_bias.detach(), atol=1e-10, rtol=1e-10)


class Dense:
    """torch's optimizer of all rows, or one for each row, which steps where that row takes part."""

    def __init__(
        self, parameters: list[torch.Tensor], make: str, options: dict[str, Any], *, whole: bool
    ) -> None:
        kind = torch.optim.SGD if make == "RowSGD" else torch.optim.AdamW
        self._parameters = parameters
        self._rows = None
        if not whole:
            self._rows = [
                [each[row].detach().clone().requires_grad_() for each in parameters] for row in range(C)
            ]
        self._optimizers = [kind(each, **options) for each in self._rows or [parameters]]

    def step(self, taking_part: torch.Tensor, lr: float) -> None:
        for row in [0] if self._rows is None else taking_part.tolist():
            if self._rows is not None:
                for each, parameter in zip(self._rows[row], self._parameters, strict=True):
                    each.grad = parameter.grad[row].clone()
            self._optimizers[row].param_groups[0]["lr"] = lr
            self._optimizers[row].step()
            if self._rows is not None:
                with torch.no_grad():
                    for each, parameter in zip(self._rows[row], self._parameters, strict=True):
                        parameter[row] = each


def narrow(dtype: torch.dtype | None, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    margin = partialfc.SubCenter(k=k, base=Raw(bias=True))
    head = partialfc.PartialFC(32, C, margin=margin, sample_rate=0.5)
    with torch.no_grad():
        head.weight.mul_(30)
    optimizer = partialfc.RowSGD(head, lr=0.01, momentum=0.9, weight_decay=5e-3, momentum_dtype=dtype)
    for step in range(40):
        generator = torch.Generator().manual_seed(step)
        embeddings = torch.randn(12, 32, generator=generator).requires_grad_()
        head(embeddings, torch.randint(0, C // 3, (12,), generator=generator)).backward()
        optimizer.step()
    state = head.state_dict()
    return state["weight"], state["bias"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8], ids=str)
def test_narrow_momentum_of_sub_centres_stays_near_float32(dtype):
    (weight, bias), (expected, of_bias) = narrow(dtype, 3), narrow(None, 3)
    assert (weight - expected).norm() < 0.05 * expected.norm()
    torch.testing.assert_close(bias, of_bias, atol=0.05 * of_bias.abs().max().item(), rtol=0)
