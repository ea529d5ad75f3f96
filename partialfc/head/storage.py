"""TEMPORARY, replaced by the storage helper."""

from typing import NamedTuple

import torch
from torch import Tensor


class Stored(NamedTuple):
    values: Tensor
    scales: Tensor | None = None


def read(stored: Stored, index: Tensor | None, dtype: torch.dtype) -> Tensor:
    v = stored.values if index is None else stored.values[index]
    return v.to(dtype)


def write(stored: Stored, index: Tensor | None, rows: Tensor, key: Tensor, first: Tensor | int = 0) -> None:
    if index is None:
        stored.values.copy_(rows)
    else:
        stored.values[index] = rows.to(stored.values.dtype)


def zeros(num_rows: int, size: int, dtype: torch.dtype, device: torch.device) -> Stored:
    return Stored(torch.zeros(num_rows, size, dtype=dtype, device=device))
