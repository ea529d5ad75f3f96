"""The dtypes that a head may be built with, and the one that its arithmetic runs in."""

import torch

from partialfc.head.arguments import one_of

WEIGHT_DTYPES = (torch.float32, torch.float64, torch.bfloat16)
COMPUTE_DTYPES = (torch.float32, torch.float64, torch.bfloat16)
GATHER_DTYPES = (None, torch.bfloat16, torch.float16)


def check_dtypes(*, weight: torch.dtype, compute: torch.dtype, gather: torch.dtype | None) -> None:
    """Raises ValueError for a weight_dtype, compute_dtype or gather_dtype that a head cannot have."""
    one_of("weight_dtype", weight, WEIGHT_DTYPES)
    if compute == torch.float16:
        raise ValueError(
            "compute_dtype is torch.float16, which cannot hold the exponentials of logits; it must be "
            "torch.float32, torch.float64 or torch.bfloat16. Embeddings may be float16"
        )
    one_of("compute_dtype", compute, COMPUTE_DTYPES)
    one_of("gather_dtype", gather, GATHER_DTYPES)


def math_dtype_of(compute_dtype: torch.dtype) -> torch.dtype:
    """What sums, norms and the loss are kept in where the matrix products run in compute_dtype."""
    return torch.float64 if compute_dtype == torch.float64 else torch.float32
