"""A head and its optimizer as the subject of a measurement: built, stepped, its memory taken."""

import itertools
import time
from abc import ABC, abstractmethod
from typing import Any

import torch
from memory import peak, reset_peak, resident, touch
from torch import Tensor
from work import Work

from partialfc.distributed.accelerator import synchronize

AHEAD = 32  # batches drawn before the clock runs; a longer measurement sees them again


class HeadSubject(ABC):
    """Counts memory from before the head is built to the end, all that it and its libraries load included."""

    optimizer: torch.optim.Optimizer

    def __init__(self, work: Work, rank: int) -> None:
        self.work = work
        self.device = torch.device(work.device)
        _warm_libraries(self.device)
        self._batches = itertools.cycle(list(itertools.islice(work.batches(rank), AHEAD)))
        self.losses: list[Tensor] = []
        reset_peak(self.device)
        self._before = resident(self.device)
        started = time.perf_counter()
        self.build()
        self.build_s = time.perf_counter() - started
        touch(self.state())

    @abstractmethod
    def build(self) -> None:
        """The head and its optimizer."""

    @abstractmethod
    def state(self) -> list[Tensor]:
        """Weights and momentum, as far as they exist by now."""

    @abstractmethod
    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The forward pass of one training step."""

    def step(self) -> float:
        """Seconds of forward, backward, the optimizer's step and zero_grad."""
        embeddings, labels = next(self._batches)
        synchronize(self.device)
        started = time.perf_counter()
        loss = self.loss(embeddings, labels)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        synchronize(self.device)
        seconds = time.perf_counter() - started
        self.losses.append(loss.detach())
        embeddings.grad = None
        return seconds

    def facts(self) -> dict[str, Any]:
        state = sum(tensor.nbytes for tensor in self.state())
        return {
            "build_s": self.build_s,
            "first_loss": self.losses[0].item() / self.work.processes,
            "state_bytes": state,
            "extra_bytes": peak(self.device) - self._before - state,
            "peak_bytes": peak(self.device),
        }


def _warm_libraries(device: torch.device) -> None:
    """What any training loop has loaded without a head: thread pools, autograd, torch.optim."""
    for dtype in (torch.float32, torch.bfloat16):
        square = torch.zeros(512, 512, dtype=dtype, device=device, requires_grad=True)
        torch.autograd.backward(torch.mm(square, square).sum())
        torch.optim.SGD([square], lr=0.1).step()
