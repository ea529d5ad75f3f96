"""What the head relies on in a margin: the shapes that its methods return, and its bound on logits."""

import torch
from torch import Tensor

from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples

COSINES = 41  # from -1 to 1, both for a negative and for the target


def largest_bound(dtype: torch.dtype) -> float:
    """The largest bound on logits for which exp(0 - shift) is not rounded to 0, see head/loss.py."""
    return 1300.0 if dtype == torch.float64 else 147.0


def check_margin(margin: object, dtype: torch.dtype) -> None:
    """Raises ValueError for what is no margin, or one that a head which computes in dtype cannot use.

    It may have parameters. Its logits may be too large for dtype, or those of `negatives`, tried over all
    cosines, above its bound.
    """
    if not isinstance(margin, Margin):
        raise ValueError(f"margin is {margin!r}; it must be a partialfc Margin such as ArcFace()")
    if any(True for _ in margin.parameters()):
        raise ValueError(f"margin is {margin!r}; its parameters would get no gradient: use buffers")
    bound = margin.logit_bound
    if bound > largest_bound(dtype):
        raise ValueError(
            f"margin {margin!r} has logits up to {bound:g}; in {dtype} they may "
            f"reach {largest_bound(dtype):g}: lower the scale, or use compute_dtype=torch.float64"
        )
    if not margin.reweights_negatives:
        return
    device = next((buffer.device for buffer in margin.buffers()), torch.device("cpu"))
    target = torch.linspace(-1.0, 1.0, COSINES, device=device)
    cos = target[:, None].expand(COSINES, COSINES).contiguous()
    with torch.no_grad():
        samples = Samples(target, torch.ones_like(target))
        logits = shaped(margin.negatives(cos, samples), cos, margin, "negatives")
    row, sample = divmod(int(logits.argmax()), COSINES)
    largest = logits[row, sample].item()
    if largest > bound + 1e-3 * abs(bound):
        raise ValueError(
            f"margin {margin!r} has a logit_bound of {bound:g}, but negatives() gives {largest:g} for a "
            f"cosine of {cos[row, sample]:.2f} where the target's is {target[sample]:.2f}: define "
            "logit_bound as a number that no logit exceeds in any state, or the loss becomes infinite"
        )


def shaped(value: object, like: Tensor, margin: Margin, method: str) -> Tensor:
    """What a margin's method returned, if it is a number for each element of `like`; otherwise ValueError."""
    if isinstance(value, Tensor) and value.shape == like.shape:
        return value
    returned = list(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise ValueError(
        f"{type(margin).__name__}.{method} returned {returned} for cosines or norms {list(like.shape)}; it "
        "must return a tensor of that shape, a number for each of them"
    )
