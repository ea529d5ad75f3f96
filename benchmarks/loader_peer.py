"""arcface_torch's MXFaceDataset for benchmarks/loader.py, in a Python of its own, which has mxnet.

For each line on stdin it reads so many batches and prints the CPU seconds that they took. Arguments: the
folder of arcface_torch, that of the `.rec`, the batch size, the batches of a turn.
"""

import sys
import time
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

warnings.simplefilter("ignore")
# Rules for the shapes of operators that torchvision has compiled, which transforms do not use: a torchvision
# that was built for CUDA fails at them beside a torch for CPUs.
sys.modules["torchvision._meta_registrations"] = ModuleType("torchvision._meta_registrations")
import torch  # noqa: E402


def dataset(source: str, folder: str) -> Any:
    sys.path.insert(0, source)
    import dataset as theirs
    import mxnet

    unpack = mxnet.recordio.unpack

    def unpack_plain(record: bytes) -> Any:
        """With labels that are Python's numbers: today's torch takes none of mxnet's old NumPy."""
        header, image = unpack(record)
        label = header.label.tolist() if hasattr(header.label, "tolist") else float(header.label)
        return header._replace(label=label), image

    mxnet.recordio.unpack = unpack_plain
    return theirs.MXFaceDataset(root_dir=folder, local_rank=0)


def batches(images: Any, size: int) -> Iterator[Any]:
    while True:
        yield from torch.utils.data.DataLoader(images, batch_size=size, shuffle=True, drop_last=True)


def main() -> None:
    source, folder, size, turn = sys.argv[1:]
    torch.set_num_threads(1)
    stream = batches(dataset(source, folder), int(size))
    for _ in sys.stdin:
        started = time.process_time()
        for _ in range(int(turn)):
            batch, _ = next(stream)
        print(time.process_time() - started, flush=True)
        assert batch.shape == (int(size), 3, 112, 112)
        assert batch.dtype == torch.float32


if __name__ == "__main__":
    main()
