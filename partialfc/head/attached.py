"""A loss that was computed without autograd, put into its graph with gradients that are known already."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from partialfc.head.kernels.compiled import outside_graphs


def attach_gradient(
    loss: Tensor,
    embeddings: Tensor,
    weight: Tensor,
    *,
    embedding_gradient: Tensor,
    weight_gradient: Callable[[Tensor], Tensor | None],
) -> Tensor:
    """The scalar loss, in autograd's graph, as a function of the embeddings [B, D] and the weight [C_l, D].

    Backward is given the gradient by the loss, `scale`. It gives the embeddings embedding_gradient [B, D]
    times scale, in their dtype, and the weight what weight_gradient(scale) returns, None for no gradient.
    """
    attached: Tensor = _AttachGradient.apply(  # type: ignore[no-untyped-call]
        embeddings, weight, loss, embedding_gradient, weight_gradient
    )
    return attached


class _AttachGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        weight: Tensor,
        loss: Tensor,
        embedding_gradient: Tensor,
        weight_gradient: Callable[[Tensor], Tensor | None],
    ) -> Tensor:
        ctx.save_for_backward(embedding_gradient)
        ctx.embedding_dtype = embeddings.dtype
        ctx.weight_gradient = weight_gradient
        return loss.clone()

    @staticmethod
    @once_differentiable
    @outside_graphs
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        (embedding_gradient,) = ctx.saved_tensors
        by_embeddings = by_weight = None
        if ctx.needs_input_grad[0]:
            by_embeddings = (embedding_gradient * scale).to(ctx.embedding_dtype)
        if ctx.needs_input_grad[1]:
            with torch.autocast(scale.device.type, enabled=False):
                by_weight = ctx.weight_gradient(scale)
        return by_embeddings, by_weight, None, None, None
