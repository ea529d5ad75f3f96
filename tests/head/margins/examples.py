"""Samples to try a margin on by itself."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import partialfc

N = 60
KINKS = (math.pi / 4, math.pi / 3, math.pi / 2, 2 * math.pi / 3, 3 * math.pi / 4)


def samples(seed: int = 0, *, ends: bool = True, **more: Any) -> partialfc.Samples:
    """N samples in float64: cosines all over, norms from 1 to 150; ends: cosines of +-1 among them.

    more: fields of Samples in place of these.
    """
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(N, generator=generator, dtype=torch.float64) * 2.9 + 0.1
    cos = theta.cos()
    if ends:
        cos[:2] = torch.tensor([1.0, -1.0], dtype=torch.float64)
    norm = torch.exp(torch.rand(N, generator=generator, dtype=torch.float64) * 5.0)
    centre_norm = torch.rand(N, generator=generator, dtype=torch.float64) + 0.5
    classes = np.arange(N, dtype=np.int64)
    given: dict[str, Any] = {"cos": cos, "norm": norm, "centre_norm": centre_norm, "classes": classes}
    return partialfc.Samples(**given | {"seed": seed} | more)


def check_derivatives(margin: partialfc.Margin, *by: str, **more: Any) -> None:
    """autograd's derivatives of `target` by the named fields of samples, against finite differences."""
    plain = samples(ends=False, **more)
    inputs = [getattr(plain, name).clone().requires_grad_() for name in by]

    def target(*values: Tensor) -> Tensor:
        fields = {name: getattr(plain, name) for name in ("cos", "norm", "centre_norm")}
        fields |= dict(zip(by, values, strict=True))
        own = {name: getattr(plain, name) for name in ("class_margin", "classes", "seed", "step")}
        return margin.target(partialfc.Samples(**fields, **own))

    assert torch.autograd.gradcheck(target, inputs, eps=1e-7, atol=1e-5)


def negatives_of(margin: partialfc.Margin, cos: Tensor, samples: partialfc.Samples) -> Tensor:
    """As a head computes them, cos [k, N]: with what the margin prepares."""
    return margin.negatives(cos, replace(samples, prepared=margin.prepare(samples)))


def check_negatives(margin: partialfc.Margin, **more: Any) -> None:
    """The same of `negatives`, by the cosines of other classes."""
    plain = samples(ends=False, **more)
    generator = torch.Generator().manual_seed(9)
    cos = torch.rand(5, N, generator=generator, dtype=torch.float64) * 1.98 - 0.99
    assert torch.autograd.gradcheck(
        lambda cos: negatives_of(margin, cos, plain), (cos.requires_grad_(),), eps=1e-7, atol=1e-5
    )


def check_finite(margin: partialfc.Margin, dtype: torch.dtype) -> None:
    """Values and derivatives at cosines of +-1, a little beyond them, and at norms from 0 to the largest."""
    tiny = torch.finfo(dtype).eps
    cosines = [
        -1 - tiny,
        -1,
        -1 + tiny,
        *(math.cos(angle) for angle in KINKS),
        0.9,
        1 - tiny / 2,
        1,
        1 + tiny,
    ]
    norms = [0.0, torch.finfo(dtype).tiny, 1e-6, 1.0, 20.0, 1e15]
    grid = torch.cartesian_prod(torch.tensor(cosines, dtype=dtype), torch.tensor(norms, dtype=dtype))
    cos, norm = (column.clone().requires_grad_() for column in grid.unbind(1))
    classes = np.arange(len(grid), dtype=np.int64)
    for step in (0, 10**6):
        given = partialfc.Samples(cos, norm, torch.ones_like(norm), None, classes, 0, step)
        values = [margin.target(given)]
        if (penalty := margin.regulariser(given)) is not None:
            values.append(penalty)
        for value in values:
            assert value.dtype == dtype
            assert torch.isfinite(value).all()
            derivatives = torch.autograd.grad(
                value, (cos, norm), torch.ones_like(value), allow_unused=True, materialize_grads=True
            )
            assert all(torch.isfinite(derivative).all() for derivative in derivatives)
