"""Memory of a step's tensors: buffers that the next step uses again."""

from types import TracebackType

import torch
from torch import Tensor

from partialfc.distributed.accelerator import is_accelerator


class Loan:
    """Memory of a pool as a tensor, until `end` or the end of a `with` gives it back.

    From then on the tensor is empty. The memory is lent again once no slice of it is held any more.
    """

    def __init__(self, tensor: Tensor, memory: torch.UntypedStorage | None, pool: "Pool") -> None:
        self.tensor = tensor
        self._memory = memory
        self._pool = pool

    def end(self) -> None:
        """Give the memory back; a second time does nothing."""
        self.tensor.set_()  # type: ignore[call-overload]
        if self._memory is not None:
            self._pool.ended.append(self._memory)
            self._memory = None

    def __enter__(self) -> Tensor:
        return self.tensor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class Pool:
    """Lends large host buffers, the same again once their loans have ended.

    The first write to new memory costs a page fault every 4 KiB: for the exponentials of a step 15 ms per
    50 MB, as much as a fast GEMM. On a GPU torch's caching allocator does the same.
    """

    def __init__(self) -> None:
        self.ended: list[torch.UntypedStorage] = []  # some may still be in use, by slices

    def lend(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Loan:
        """An uninitialised tensor. A loan that is dropped and not ended keeps its memory from the pool."""
        size = torch.Size(shape).numel() * dtype.itemsize
        if is_accelerator(device) or size == 0:
            return Loan(torch.empty(shape, dtype=dtype, device=device), None, self)
        unused = [each for each in self.ended if _is_unused(each)]
        # Not one that is far too large: the next call may need all of it.
        fits = [each for each in unused if size <= each.nbytes() <= 4 * size]
        if fits:
            memory = min(fits, key=torch.UntypedStorage.nbytes)
            self.ended = [other for other in self.ended if other is not memory]
        else:
            too_small = {id(each) for each in unused if each.nbytes() <= size}
            self.ended = [each for each in self.ended if id(each) not in too_small]
            memory = torch.UntypedStorage(size)  # type: ignore[no-untyped-call]
        return Loan(_tensor_on(memory, shape, dtype), memory, self)

    def __reduce__(self) -> tuple[type["Pool"], tuple[()]]:
        """Copied or pickled, a pool starts empty."""
        return Pool, ()


def _tensor_on(memory: torch.UntypedStorage, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor of that shape on the memory, which no other tensor refers to for its sake."""
    stride = torch.empty(shape, device="meta").stride()
    return torch.empty(0, dtype=dtype, device="cpu").set_(memory, 0, shape, stride)


def _is_unused(memory: torch.UntypedStorage) -> bool:
    """Whether no tensor refers to it."""
    return bool(torch._C._storage_Use_Count(memory._cdata) == 1)
