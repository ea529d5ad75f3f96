"""A loss that was computed without autograd, put into its graph with gradients that are known already."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from partialfc.head.kernels.compiled import outside_graphs
from partialfc.head.surroundings import outside_modes


def attach_gradient(
    loss: Tensor,
    embeddings: Tensor,
    weight: Tensor | None = None,
    *,
    embedding_gradient: Tensor,
    weight_gradient: Callable[[Tensor], Tensor | None] | None = None,
) -> Tensor:
    """The scalar loss, in autograd's graph, as a function of the embeddings [B, D] and the weight [C_l, D].

    Backward is given the gradient by the loss, `scale`. It gives the embeddings embedding_gradient [B, D]
    times scale, in their dtype, and the weight what weight_gradient(scale) returns, None for no gradient.
    Without a weight it is a function of the embeddings alone.
    """
    attached: Tensor = _AttachGradient.apply(  # type: ignore[no-untyped-call]
        embeddings, weight, loss, embedding_gradient, weight_gradient
    )
    return attached


def loss_of_rows(
    rows: Tensor, device: torch.device, compute: Callable[[bool], tuple[Tensor, Tensor | None]]
) -> Tensor:
    """The scalar loss, in autograd's graph, as a function of this rank's rows [B, ...] alone; collective.

    compute: called, outside of autocast and the caller's other modes on the device, with whether a gradient
        is wanted -> the loss, and its gradient by the rows, which is None where none is.
    """
    wants_gradient = torch.is_grad_enabled() and getattr(rows, "requires_grad", False)
    with outside_modes(device):
        loss, gradient = compute(wants_gradient)
    return loss if gradient is None else attach_gradient(loss, rows, embedding_gradient=gradient)


class _AttachGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        embeddings: Tensor,
        weight: Tensor | None,
        loss: Tensor,
        embedding_gradient: Tensor,
        weight_gradient: Callable[[Tensor], Tensor | None] | None,
    ) -> Tensor:
        ctx.save_for_backward(embedding_gradient)
        ctx.inputs = embeddings, weight
        ctx.weight_gradient = weight_gradient
        return loss.clone()

    @staticmethod
    @outside_graphs
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        (embedding_gradient,) = ctx.saved_tensors
        embeddings, weight = ctx.inputs
        by_embeddings = by_weight = None
        with torch.no_grad():
            if ctx.needs_input_grad[0]:
                by_embeddings = (embedding_gradient * scale).to(embeddings.dtype)
            if ctx.needs_input_grad[1]:
                with torch.autocast(scale.device.type, enabled=False):
                    by_weight = ctx.weight_gradient(scale)
        if torch.is_grad_enabled():  # with create_graph=True
            by_embeddings, by_weight = (
                None if gradient is None else _FirstDerivative.apply(gradient, embeddings, weight, scale)  # type: ignore[no-untyped-call]
                for gradient in (by_embeddings, by_weight)
            )
        return by_embeddings, by_weight, None, None, None


class _FirstDerivative(torch.autograd.Function):
    """A gradient, in the graph of what it depends on, so that no derivative of it is taken for zero."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, embeddings: Tensor, weight: Tensor | None, scale: Tensor
    ) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError(
            "the head and the losses beside it compute no second derivative, which this backward needs (for "
            "a gradient penalty, say, or a Hessian): take the penalty of another loss, or leave out "
            "create_graph=True"
        )
