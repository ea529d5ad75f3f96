"""Embeddings that are Gaussians with a diagonal covariance: how likely two agree, and many fused into one.

Shi and Jain 2019, "Probabilistic Face Embeddings" (arXiv:1904.09658), called the paper here. A network
gives a Gaussian in one row [2D]: its mean [D], then the logarithms of its variances [D], log sigma^2.
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 1 << 18  # numbers of a tile's Gaussians that are compared together
LOG_2PI = math.log(2 * math.pi)


def split(gaussians: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussians [..., 2D] -> their means [..., D] and log variances [..., D]."""
    size = gaussians.shape[-1]
    if size % 2:
        raise ValueError(
            f"gaussians.shape is {tuple(gaussians.shape)}; its last number must be even: a mean and a log "
            "variance for each of D dimensions"
        )
    return gaussians[..., : size // 2], gaussians[..., size // 2 :]


def mutual_likelihood(first: Tensor, second: Tensor) -> Tensor:
    """The mutual likelihood score of Gaussians [..., 2D] and [..., 2D], which broadcast -> [...].

    s = -1/2 sum_l ((mu_i - mu_j)^2 / (sigma_i^2 + sigma_j^2) + log(sigma_i^2 + sigma_j^2)) - D/2 log(2 pi):
    the logarithm of the density that both images have the same embedding. The paper, equation 3. Higher:
    rather of one identity. It may be above 0. Finite inputs never give NaN: equal means have a finite score
    however small the variances are, and a score below what the dtype can hold is -inf. A sum of variances
    that is too near to 0 or too large for its root to be a number divides as the last one that is not: in
    float32 those below e^-176 and above e^176.
    """
    (mean, log_variance), (other_mean, other_log_variance) = split(first), split(second)
    log_sum = torch.logaddexp(log_variance, other_log_variance)
    most = math.floor(math.log(torch.finfo(log_sum.dtype).max))
    # Of a sum of variances the root alone: its inverse is a number where that of the sum is none.
    in_sigmas = (mean - other_mean) * torch.exp((-0.5 * log_sum).clamp(-most, most))
    terms = in_sigmas.square() + log_sum
    return -0.5 * (terms.sum(-1) + LOG_2PI * terms.shape[-1])


def likelihood_tile(first: Tensor, second: Tensor) -> Tensor:
    """Gaussians [q, 2D] and [c, 2D] -> the mutual likelihood score of each with each [q, c]."""
    rows = max(1, AT_ONCE // max(1, second.numel()))
    return torch.cat([mutual_likelihood(part[:, None], second) for part in torch.split(first, rows)])


def likelihood_scores(gaussians: np.ndarray) -> np.ndarray:
    """Gaussians [2P, 2D] -> mutual likelihood scores [P] of rows 2i and 2i + 1, float64.

    Raises ValueError for an odd number of rows, and for the first row that is not finite.
    """
    rows = torch.as_tensor(np.asarray(gaussians, dtype=np.float64))
    if rows.ndim != 2 or len(rows) % 2:
        raise ValueError(f"gaussians have shape {tuple(rows.shape)}: they must be [2P, 2D], two rows a pair")
    bad = (~rows.isfinite()).any(1).nonzero().flatten()
    if len(bad):
        first = int(bad[0])
        raise ValueError(
            f"embedding {first} (pair {first // 2}) is not finite, {len(bad)} of {len(rows)} are"
        )
    return mutual_likelihood(rows[0::2], rows[1::2]).numpy()


def fuse(gaussians: Tensor, *, variance: Literal["posterior", "smallest"] = "posterior") -> Tensor:
    """Gaussians [n, 2D] of n images of one identity -> the one Gaussian [2D] that they say together.

    Its mean is that of theirs, each dimension weighted by its precision 1 / sigma^2. Its precision is the sum
    of theirs, "posterior": the paper, equations 6 and 7, exact for images that are independent. The frames of
    a video are not, and then the sum is too sure; "smallest" takes the smallest variance of each dimension
    instead, as the paper does in its experiments.

    Raises ValueError for no image, or another `variance`.
    """
    if variance not in ("posterior", "smallest"):
        raise ValueError(f"variance is {variance!r}; it must be 'posterior' or 'smallest'")
    if gaussians.ndim != 2 or not len(gaussians):
        raise ValueError(f"gaussians.shape is {tuple(gaussians.shape)}; it must be [n, 2D], n at least 1")
    mean, log_variance = split(gaussians)
    weights = torch.softmax(-log_variance, 0)  # precisions over their sum, whatever their size
    fused = -torch.logsumexp(-log_variance, 0) if variance == "posterior" else log_variance.min(0).values
    return torch.cat([(weights * mean).sum(0), fused])


def confidence(gaussians: Tensor) -> Tensor:
    """Gaussians [..., 2D] -> how sure each is [...]: one over the harmonic mean of its sigmas, above 0.

    The paper measures an image's uncertainty by that harmonic mean, where it rejects the worst images. It is
    inf where one over a sigma is above what the dtype can hold: in float32 a log variance below -177.
    """
    _, log_variance = split(gaussians)
    return torch.exp(-0.5 * log_variance).mean(-1)
