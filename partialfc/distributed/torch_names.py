"""Names that torch 2.11 to 2.15 do not all have, or not all without a warning.

Whatever else partialfc uses of torch has one name in all of these.
"""

import torch.distributed as dist

if hasattr(dist, "all_gather_single"):
    all_gather_single = dist.all_gather_single
    reduce_scatter_single = dist.reduce_scatter_single
else:  # before torch 2.13, which deprecates these names
    all_gather_single = dist.all_gather_into_tensor
    reduce_scatter_single = dist.reduce_scatter_tensor
