"""torch.autocast on the device: matrix products and convolutions in the narrow dtype, all else as it is."""

from typing import Any

import torch
from torch import Tensor

from tests.pretend.machine import NAME
from tests.pretend.tree import tree_map

KEY = "AutocastPrivateUse1"
NARROW = ("linear", "matmul", "mm", "addmm", "bmm", "baddbmm", "conv1d", "conv2d", "conv3d", "prelu")


def libraries() -> list[torch.library.Library]:
    """The kernels of torch.autocast, which hold as long as these do."""
    products = torch.library.Library("aten", "IMPL", KEY)
    for name in NARROW:
        products.impl(name, _in_narrow_dtype(getattr(torch.ops.aten, name).default))
    others = torch.library.Library("_", "IMPL", KEY)
    others.fallback(torch.library.fallthrough_kernel)
    return [products, others]


def _in_narrow_dtype(operation: Any) -> Any:
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, KEY))

    def narrow(leaf: Any) -> Any:
        wide = isinstance(leaf, Tensor) and leaf.dtype in (torch.float32, torch.bfloat16, torch.float16)
        return leaf.to(torch.get_autocast_dtype(NAME)) if wide else leaf

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return operation(*tree_map(narrow, args), **tree_map(narrow, kwargs))

    return kernel
