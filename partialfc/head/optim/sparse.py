"""The centres' gradient as a sparse tensor, for optimizers other than RowSGD and RowAdamW."""

import numpy as np
import torch
from torch import Tensor

from partialfc.distributed.accelerator import on_device
from partialfc.head.gradient import BatchGradient, row_gradients
from partialfc.head.kernels import elementwise
from partialfc.head.rows import Rows


def sparse_gradient(gradient: BatchGradient, rows: Rows, weight: Tensor) -> Tensor:
    """Pass 2 of a batch over its K rows -> the gradient by weight [C_l, D]: a sparse COO tensor of K rows."""
    values = [
        elementwise.by_rows(by_used.to(rows.dtype), chunk.centres(), rows.kind.unit)
        for chunk, by_used, _ in row_gradients([gradient], rows)
    ]
    stacked = torch.cat(values) if values else weight.new_zeros(0, weight.shape[1])
    index = np.arange(rows.count) if rows.rows is None else rows.rows
    return torch.sparse_coo_tensor(
        on_device(torch.from_numpy(index)[None], stacked.device),
        stacked.to(weight.dtype),
        weight.shape,
        is_coalesced=True,
        check_invariants=False,
    )
