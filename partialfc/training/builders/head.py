"""The head: its margin, and its centres on this rank."""

import logging
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partialfc.config import HeadConfig
from partialfc.errors import ConfigError
from partialfc.head.margin_rules import check_margin, largest_bound
from partialfc.head.margins.base import Margin
from partialfc.head.margins.by_norm import AdaFace, MagFace
from partialfc.head.margins.combined import ArcFace, CombinedMargin, CosFace, NormalizedSoftmax
from partialfc.head.margins.elastic import ElasticFace
from partialfc.head.margins.hard_negatives import CurricularFace, MVSoftmax
from partialfc.head.margins.softmax import ModifiedSoftmax, Softmax
from partialfc.head.margins.sphereface import LargeMarginSoftmax, SphereFace
from partialfc.head.margins.sub_center import SubCenter
from partialfc.head.partial_fc import PartialFC
from partialfc.training.builders.class_values import read_class_weights

log = logging.getLogger(__name__)

MARGINS: dict[str, Callable[..., Margin]] = {
    "adaface": AdaFace,
    "arcface": ArcFace,
    "combined": CombinedMargin,
    "cosface": CosFace,
    "curricularface": CurricularFace,
    "elasticface": ElasticFace,
    "large_margin_softmax": LargeMarginSoftmax,
    "magface": MagFace,
    "modified_softmax": ModifiedSoftmax,
    "mv_softmax": MVSoftmax,
    "normalized_softmax": NormalizedSoftmax,
    "softmax": Softmax,
    "sphereface": SphereFace,
}

# Of a RuntimeError: the CPU's allocator has no error of its own.
NO_ROOM = ("allocate memory", "size calculation overflowed")


def build_head(
    section: HeadConfig,
    *,
    embedding_size: int,
    num_classes: int,
    seed: int,
    device: torch.device,
    class_margins: npt.NDArray[np.float64] | Tensor | None = None,
) -> PartialFC:
    """The head, built on `device`; class_margins [C]: of builders/class_margins.py.

    Raises ConfigError where its centres do not fit the memory there, its logits `head.compute_dtype`, or its
    settings each other.
    """
    gather = section.gather_dtype
    margin, compute_dtype = build_head_margin(section), getattr(torch, section.compute_dtype)
    try:
        check_margin(margin, compute_dtype)
    except ValueError as error:
        raise ConfigError(f"head.margin: {error}") from error
    path = section.class_weights
    try:
        return PartialFC(
            embedding_size,
            num_classes,
            margin=margin,
            sample_rate=section.sample_rate,
            interclass_filter=section.interclass_filter,
            logit_correction=section.logit_correction,
            weight_dtype=getattr(torch, section.weight_dtype),
            compute_dtype=compute_dtype,
            gather_dtype=None if gather is None else getattr(torch, gather),
            compile=section.compile,
            class_weights=None if path is None else read_class_weights(path, num_classes),
            class_margins=class_margins,
            seed=seed,
            device=device,
        )
    except ValueError as error:
        raise ConfigError(f"head: {error}") from error
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in NO_ROOM)):
            raise
        raise ConfigError(
            f"data.num_classes is {num_classes:,}: centres of backbone.embedding_size {embedding_size} "
            f"do not fit this rank's memory on {device}; `partialfc plan CONFIG` says what would"
        ) from error


def build_head_margin(section: HeadConfig) -> Margin:
    """The margin `head.margin`, with `head.sub_centers` centres to a class.

    Raises ConfigError where its logits are too large for `head.compute_dtype`.
    """
    margin = build_margin(section.margin.model_dump())
    most = largest_bound(getattr(torch, section.compute_dtype))
    if most < margin.logit_bound < math.inf:
        raise ConfigError(
            f"head.margin: with name: {section.margin.name} logits come up to {margin.logit_bound:g}, and "
            f"with head.compute_dtype: {section.compute_dtype} they may reach {most:g}: lower the margin's "
            "scale or what else makes them large, or set head.compute_dtype=float64"
        )
    return margin if section.sub_centers == 1 else SubCenter(k=section.sub_centers, base=margin)


def build_margin(values: dict[str, Any]) -> Margin:
    """The margin `name` of the other keys; where a key is a section with a name, it is a margin too."""
    arguments = {
        key: build_margin(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if key != "name"
    }
    make = MARGINS[values["name"]]
    if values["name"] != "magface":
        return make(**arguments)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lambda_g of MagFace")  # see warn_of_low_lambda_g
        return make(**arguments)


def warn_of_low_lambda_g(section: HeadConfig) -> None:
    """Log it where MagFace's regulariser is weaker than the bound of the paper's proof."""
    margin = build_margin(section.margin.model_dump())
    if isinstance(margin, MagFace) and margin.lambda_g < margin.lambda_g_bound:
        log.warning(
            "head.margin.lambda_g is %g, below the bound of MagFace's paper, %.4g for this scale, l_a, u_a, "
            "l_m and u_m: norms of hard samples may stay at l_a, %g",
            *(margin.lambda_g, margin.lambda_g_bound, margin.l_a),
        )
