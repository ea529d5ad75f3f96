"""What a piece of code asks of torch: which operators it calls, and how much memory its tensors take."""

import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TorchCalls(TorchDispatchMode):
    """Inside `with`: counts the operators by name, and follows the bytes of the tensors that they make.

    Operators of compiled code are not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.calls: list[tuple[str, Sequence[Any], Mapping[str, Any]]] = []
        self.peak = 0
        self._live: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        known = {self._place(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        self.counts[name] += 1
        self.calls.append((name, [_about(each) for each in args], kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, Tensor) and (place := self._place(made)) not in known | {*self._live, 0}:
                self._live[place] = made.untyped_storage().nbytes()
                weakref.finalize(made, self._live.pop, place, None)
        self.peak = max(self.peak, sum(self._live.values()))
        return result

    @staticmethod
    def _place(tensor: Tensor) -> int:
        return 0 if tensor.is_sparse else tensor.untyped_storage().data_ptr()


def _about(argument: Any) -> Any:
    """A tensor's dtype in its place, so that no tensor is kept alive."""
    return argument.dtype if isinstance(argument, Tensor) else type(argument)


# Operators that have no deterministic algorithm on CUDA, where torch.use_deterministic_algorithms(True) makes
# them an error: the documentation of that function (torch 2.13), by the names that operators have there.
WITHOUT_DETERMINISM = {
    "avg_pool3d_backward",
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d_backward",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "max_unpool2d",
    "max_unpool3d",
    "upsample_linear1d_backward",
    "upsample_bilinear2d_backward",
    "_upsample_bilinear2d_aa_backward",
    "upsample_bicubic2d_backward",
    "_upsample_bicubic2d_aa_backward",
    "upsample_trilinear3d_backward",
    "reflection_pad1d_backward",
    "reflection_pad2d_backward",
    "reflection_pad3d_backward",
    "nll_loss_forward",
    "nll_loss2d_forward",
    "nll_loss2d_backward",
    "_ctc_loss_backward",
    "_embedding_bag",
    "put_",
    "histc",
    "median",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    # Not in that documentation, but in the source.
    "index_reduce",
    "index_reduce_",
    "kthvalue",
}


def without_determinism(calls: TorchCalls) -> set[str]:
    """Those of the operators that would be an error on CUDA."""
    found = WITHOUT_DETERMINISM & {*calls.counts}
    for name, arguments, _ in calls.calls:
        floating = (
            bool(arguments) and isinstance(arguments[0], torch.dtype) and arguments[0].is_floating_point
        )
        if name == "bincount" and len(arguments) > 1 and isinstance(arguments[1], torch.dtype):
            found.add("bincount with weights")
        if name in ("cumsum", "cumsum_") and floating:
            found.add("cumsum of floats")
    return found
