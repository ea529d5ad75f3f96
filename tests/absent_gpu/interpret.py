"""Inductor's code run on the CPU by Triton's interpreter, on the values of the recorded call.

For a process that was started with TRITON_INTERPRET=1.
"""

from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from tests.absent_gpu.calls import Call, Place
from tests.absent_gpu.generate import Code

# Functions of NVIDIA's library that NumPy calls otherwise.
LIBDEVICE = {"pow": np.power, "nearbyint": np.rint, "rsqrt": lambda values: 1 / np.sqrt(values)}
# What the code asks of a device -> what the CPU has in its place.
ON_CPU = {
    "from torch._C import _cuda_getCurrentRawStream as get_raw_stream": "get_raw_stream = lambda device: 0",
    "torch.cuda._DeviceGuard(0)": "nullcontext()",
    "torch.cuda.set_device(0)": "pass",
    "empty_strided_cuda(": "empty_strided_cpu(",
    "device='cuda'": "device='cpu'",
}


def interpret(call: Call, code: Code) -> tuple[list[Tensor], list[Tensor]]:
    """The call's memories after it, as uint8, and what it returned; the call itself is not changed."""
    memories = [each.clone() for each in call.before]
    arguments = [
        tensor_at(memories[each.memory], each) if isinstance(each, Place) else each for each in code.arguments
    ]
    # A number in a tensor of its own, which the code takes with item().
    arguments = [
        torch.tensor(each, dtype=torch.float64) if isinstance(each, float) else each for each in arguments
    ]
    source = code.source
    for there, here in ON_CPU.items():
        source = source.replace(there, here)
    names: dict[str, Any] = {"__name__": "interpreted", "nullcontext": nullcontext}
    from torch._inductor import async_compile

    real = async_compile.AsyncCompile
    async_compile.AsyncCompile = _Interpreter  # type: ignore[assignment, misc]
    try:
        exec(source, names)
    finally:
        async_compile.AsyncCompile = real  # type: ignore[misc]
    returned = names["call"](arguments)
    return memories, [each for each in returned if isinstance(each, Tensor)]


def tensor_at(memory: Tensor, place: Place) -> Tensor:
    """What lies there."""
    return torch.empty(0, dtype=place.dtype).set_(
        memory.untyped_storage(), place.offset, place.shape, place.stride
    )


class _Interpreter:
    """In place of Inductor's compiler: `triton` gives a kernel that the interpreter runs."""

    def triton(self, name: str, source: str, device_str: str = "cuda") -> "_Kernel":
        return _Kernel(name, source)

    def wait(self, scope: dict[str, Any]) -> None:
        pass


class _Libdevice:
    """In place of NVIDIA's library of functions, which the interpreter does not have."""

    def __getattr__(self, name: str) -> Any:
        function = LIBDEVICE.get(name) or getattr(np, name)

        def call(*values: Any) -> Any:
            import triton.language as tl
            from triton.runtime.interpreter import TensorHandle

            first = values[0]
            result = function(*(value.handle.data for value in values))
            kind = tl.int1 if result.dtype == np.bool_ else first.dtype
            if kind is not tl.int1:
                result = result.astype(first.handle.data.dtype)
            shape = [int(each) for each in first.shape]
            return tl.tensor(TensorHandle(result, kind), tl.block_type(kind, shape) if shape else kind)

        return call


def _cast(builder: Any, source: Any, target: Any) -> Any:
    """As the interpreter does, but float32 to bfloat16 is rounded as a GPU does, and not cut off."""
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle, _convert_float, _get_np_dtype

    kind, wanted = source.dtype.scalar, target.scalar
    if (kind, wanted) == (tl.float32, tl.bfloat16):
        rounded = torch.from_numpy(np.ascontiguousarray(source.data)).to(torch.bfloat16)
        return TensorHandle(rounded.view(torch.uint16).numpy(), wanted)
    if (kind, wanted) == (tl.bfloat16, tl.float32):
        return TensorHandle(_convert_float(source.data, kind, wanted, None).view(np.float32), wanted)
    return TensorHandle(source.data.astype(_get_np_dtype(target)), wanted)


@cache
def _prepare() -> None:
    """Gives the interpreter what it lacks."""
    import triton
    from torch._inductor.runtime import triton_helpers
    from triton.runtime import interpreter

    triton_helpers.libdevice = _Libdevice()
    interpreter.InterpreterBuilder.cast_impl = _cast
    if TorchVersion(triton.__version__) < (3, 7):
        interpreter._patch_lang_tensor = _with_index(interpreter._patch_lang_tensor)


def _with_index(patch: Any) -> Any:
    """Triton 3.6 takes int() of an array of one number for the ends of a loop; NumPy 2.4 refuses."""

    def patched(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    return patched


class _Kernel:
    def __init__(self, name: str, source: str) -> None:
        from torch._inductor.codecache import PyCodeCache

        _prepare()
        self._tuner = getattr(PyCodeCache.load(source), name)

    def run(self, *arguments: Any, stream: int) -> None:
        from torch._inductor.runtime.triton_heuristics import GridExpr

        tuner = self._tuner
        config = tuner.configs[0]
        names = tuner.fn.arg_names
        blocks = {name: size for name, size in config.kwargs.items() if name in names}
        given = dict(zip((name for name in names if name not in blocks), arguments, strict=False))
        grid = GridExpr.from_meta(tuner.inductor_meta, config)
        sizes = grid.eval_slow(given | config.kwargs)
        tuner.fn[sizes](**given, **blocks)
