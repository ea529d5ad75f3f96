"""What the head relies on in a margin: the shapes that its methods return, and its bound on logits."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from partialfc.head.margins.base import Margin
from partialfc.head.margins.samples import Samples

COSINES = 41  # from -1 to 1, both for a negative and for the target
FEWER = 14  # of the negatives, the smallest


def largest_bound(dtype: torch.dtype) -> float:
    """The largest bound on logits for which exp(0 - shift) is not rounded to 0, see head/loss.py."""
    return 1300.0 if dtype == torch.float64 else 147.0


def check_margin(margin: object, dtype: torch.dtype, *, class_margins: bool = False) -> None:
    """Raises ValueError for what is no margin, or one that a head which computes in dtype cannot use.

    It may have parameters. Its logits may be too large for dtype, or those of `negatives`, tried over all
    cosines, above its bound, or dependent on other centres. class_margins: whether the head has any.
    """
    if not isinstance(margin, Margin):
        raise ValueError(f"margin is {margin!r}; it must be a partialfc Margin such as ArcFace()")
    if any(True for _ in margin.parameters()):
        raise ValueError(f"margin is {margin!r}; its parameters would get no gradient: use buffers")
    bound, plain = margin.logit_bound, not margin.reweights_negatives
    unit = margin.normalises_centres and margin.normalises_embeddings
    if not plain and not (unit and math.isfinite(bound)):
        raise ValueError(
            f"margin {margin!r} has negatives() of its own, so it must normalise centres and embeddings, and "
            "its logit_bound must be a number"
        )
    if margin.bias and (margin.normalises_centres or margin.normalises_embeddings):
        raise ValueError(
            f"margin {margin!r} has a bias, which takes part in no angle: only where neither centres nor "
            "embeddings are normalised is there one, as in Softmax(bias=True)"
        )
    if math.isfinite(bound) and bound > largest_bound(dtype):
        raise ValueError(
            f"margin {margin!r} has logits up to {bound:g}; in {dtype} they may "
            f"reach {largest_bound(dtype):g}: lower the scale, or use compute_dtype=torch.float64"
        )
    if not plain:
        _try_negatives(margin, bound, class_margins=class_margins)


def _try_negatives(margin: Margin, bound: float, *, class_margins: bool) -> None:
    """ValueError where `negatives`, tried over all cosines, exceeds the bound or is no function of each."""
    device = next((buffer.device for buffer in margin.buffers()), torch.device("cpu"))
    target = torch.linspace(-1.0, 1.0, COSINES, device=device)
    cos = target[:, None].expand(COSINES, COSINES).contiguous()
    with torch.no_grad():
        own = torch.zeros_like(target) if class_margins else None
        samples = Samples(target, torch.ones_like(target), class_margin=own)
        whole = replace(samples, classes=np.zeros(COSINES, np.int64), seed=0)
        samples = replace(samples, prepared=margin.prepare(whole))
        logits = shaped(margin.negatives(cos, samples), cos, margin, "negatives")
        few = cos[:FEWER]
        alone = shaped(margin.negatives(few, samples), few, margin, "negatives")
    row, sample = divmod(int(logits.argmax()), COSINES)
    largest = logits[row, sample].item()
    if largest > bound + 1e-3 * abs(bound):
        raise ValueError(
            f"margin {margin!r} has a logit_bound of {bound:g}, but negatives() gives {largest:g} for a "
            f"cosine of {cos[row, sample]:.2f} where the target's is {target[sample]:.2f}: define "
            "logit_bound as a number that no logit exceeds in any state, or the loss becomes infinite"
        )
    apart = (logits[:FEWER] - alone).abs()
    if not bool((apart <= 1e-4 * (1.0 + alone.abs())).all()):
        row, sample = divmod(int(apart.argmax()), COSINES)
        raise ValueError(
            f"margin {margin!r} has negatives() that give {logits[row, sample]:g} for a cosine of "
            f"{cos[row, sample]:.2f} among {COSINES} centres, and {alone[row, sample]:g} among {FEWER} of "
            "these: each number must follow from its own cosine and sample alone, since centres come in "
            "chunks and lie on several ranks"
        )


def check_fits(margin: Margin, *, sparse_grad: bool, class_margins: object) -> None:
    """Raises ValueError where a head's other arguments do not go with its margin."""
    if sparse_grad and (margin.bias or margin.sub_centers > 1):
        what = "a bias" if margin.bias else "sub-centres"
        raise ValueError(
            f"sparse_grad is True, and margin {margin!r} has {what}, whose gradient has no sparse form here: "
            "use partialfc.RowSGD or RowAdamW"
        )
    if class_margins is not None and not margin.takes_class_margins:
        rule = margin.class_margins_rule or "leave them out, or take a margin such as ArcFace() or CosFace()"
        raise ValueError(f"class_margins are given, and margin {margin!r} takes none: {rule}")


def check_successor(margin: Margin, before: Margin, *, class_margins: bool) -> None:
    """Raises ValueError for a margin that cannot take the place of the one before in a head.

    class_margins: whether the head has some.
    """
    traits = ("normalises_centres", "normalises_embeddings", "bias", "sub_centers")
    for name in (*traits, "takes_class_margins", "largest_class_margin") if class_margins else traits:
        if getattr(margin, name) != getattr(before, name):
            raise ValueError(f"margin {margin!r} cannot follow {before!r}: their {name} differ")
    states = [{name: buffer.shape for name, buffer in each.named_buffers()} for each in (margin, before)]
    if type(margin) is not type(before) or states[0] != states[1]:
        raise ValueError(f"margin {margin!r} cannot follow {before!r}: it must be another of the same class")


def take_over(margin: Margin, before: Margin) -> None:
    """Let a margin go on from the state of the one before: they share its buffers."""
    modules = dict(before.named_modules())
    for name, module in margin.named_modules():
        module._buffers.update(modules[name]._buffers)
    margin.train(before.training)


def shaped(value: object, like: Tensor, margin: Margin, method: str) -> Tensor:
    """What a margin's method returned, if it is a number for each element of `like`; otherwise ValueError."""
    if isinstance(value, Tensor) and value.shape == like.shape:
        return value
    returned = list(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise ValueError(
        f"{type(margin).__name__}.{method} returned {returned} for cosines or norms {list(like.shape)}; it "
        "must return a tensor of that shape, a number for each of them"
    )
