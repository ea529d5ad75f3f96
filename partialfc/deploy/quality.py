"""How good images are by a trained network: MagFace's norm, or how sure a probabilistic embedding is."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from partialfc.data.benchmarks.image_set import of_source
from partialfc.data.sources.labelled import Labelled
from partialfc.deploy.norms import why_norms_say_nothing
from partialfc.deploy.trained_network import Trained
from partialfc.evaluation.embed import embed_in_parts
from partialfc.uncertainty import confidence

log = logging.getLogger(__name__)

By = Literal["auto", "norm", "pfe"]


@dataclass(frozen=True)
class Rater:
    """network: images to rows. quality: rows [n, ...] -> [n], higher is better."""

    by: Literal["norm", "pfe"]
    network: nn.Module
    quality: Callable[[Tensor], Tensor]


def rater(trained: Trained, by: By = "auto") -> Rater:
    """auto: pfe for a run with uncertainty, norm for any other.

    norm: the length of the embedding. Meng et al. 2021, "MagFace" (arXiv:2103.06627). A run with another
    margin than MagFace or AdaFace has norms, too, but nothing made them follow quality: a warning says so.
    pfe: one over the harmonic mean of sigma. Shi and Jain 2019 (arXiv:1904.09658).

    Raises ConfigError for pfe of a run without uncertainty.
    """
    if by == "auto":
        by = "norm" if trained.probabilistic is None else "pfe"
    if by == "pfe":
        return Rater("pfe", trained.require_probabilistic(), confidence)
    _warn_of_margin(trained)
    return Rater("norm", trained.backbone, _norm)


def image_qualities(trained: Trained, by: Rater, source: Labelled, **how: Any) -> Iterator[float]:
    """The quality of each image of a source, one after the other; `how`: further arguments of `embed`.

    Raises ImageError, which names the image that cannot be decoded.
    """
    sizes = {"image_size": trained.image_size, "channels": trained.channels}
    for _, rows in embed_in_parts(by.network, of_source(source), name=source.name, **sizes, **how):
        yield from by.quality(rows).tolist()


def random_quality(count: int, seed: int = 0) -> np.ndarray:
    """[count], to compare with: it says nothing about any image."""
    return np.random.default_rng(seed).random(count)


def _norm(embeddings: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(embeddings, dim=1)
    return norm


def _warn_of_margin(trained: Trained) -> None:
    if why := why_norms_say_nothing(trained):
        log.warning(
            "quality by norm: %s, and nothing made its norms follow quality; train with head.margin.name: "
            "magface for norms that do",
            why,
        )
