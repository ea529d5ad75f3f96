"""How long training steps and their phases take, and how much of it a rank waits for other ranks."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.hooks import RemovableHandle

from partialfc.distributed.accelerator import synchronize
from partialfc.distributed.instants import Instant, instant, passed, seconds_between


class Observer(Protocol):
    """Receives the times; on a GPU some steps later, once the GPU has finished them."""

    def phase_took(self, phase: str, seconds: float) -> None:
        """A phase took so long; in a step its parts are added up."""

    def step_took(self, seconds: float, waited: float) -> None:
        """A step took so long; `waited` of it DistributedDataParallel waited for other ranks."""


class StepClock:
    """Times steps and phases on their device's own clock, without waiting for the device.

        with clock.step():
            with clock.phase("data_wait"):
                images, labels = next(loader)
            with clock.phase("backbone"):
                ...

    A phase may come several times in a step, once for each micro-batch, and also between steps. A step or
    phase that ends in an exception is not timed.
    """

    def __init__(self, device: torch.device, observer: Observer) -> None:
        self._device = device
        self._observer = observer
        self._phase: _Span | None = None
        self._step: _Step | None = None
        self._running: deque[_Step] = deque()

    @contextmanager
    def step(self) -> Iterator[None]:
        step = self._step = _Step(instant(self._device))
        try:
            yield
        finally:
            self._step = None
        self._finish(step)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        span = self._phase = _Span(name, instant(self._device))
        try:
            yield
        finally:
            self._phase = None
        span.ended = instant(self._device)
        if self._step is not None:
            self._step.phases.append(span)
        else:
            self._finish(_Step(None, [span]))

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """Inside, tell the time in which a DistributedDataParallel waits from the rank's own work.

        It waits twice: for rank 0's buffers, from its own call to that of its module; and for the other
        ranks' gradients, after its own. The first parameter's is taken to be the last of its own. For another
        module there is nothing to tell.
        """
        hooks: list[RemovableHandle] = []
        if isinstance(module, DistributedDataParallel):
            hooks.append(module.register_forward_pre_hook(self._forward_called))
            hooks.append(module.module.register_forward_pre_hook(self._work_begins))
            first = next((p for p in module.parameters() if p.requires_grad), None)
            if first is not None:
                hooks.append(first.register_post_accumulate_grad_hook(self._work_ends))  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            # Autograd may hold the parameter, where Python cannot see it, and so all that the hook reaches.
            for hook in hooks:
                hook.remove()

    def _forward_called(self, *_: object) -> None:
        if self._phase is not None:
            self._phase.called = instant(self._device)

    def _work_begins(self, *_: object) -> None:
        if self._phase is not None:
            self._phase.work_began = instant(self._device)

    def _work_ends(self, *_: object) -> None:
        if self._phase is not None:
            self._phase.work_ended = instant(self._device)

    def report_all(self) -> None:
        """Wait for the device, and report what is not reported yet; for the end of a run."""
        synchronize(self._device)
        self._report()

    def _finish(self, step: "_Step") -> None:
        step.ended = instant(self._device)
        self._running.append(step)
        self._report()

    def _report(self) -> None:
        while self._running and passed(self._running[0].ended):
            self._running.popleft().report(self._observer)


@dataclass(slots=True)
class _Span:
    """One phase. From `called` to `work_began`, and after `work_ended`, it waited for other ranks."""

    name: str
    began: Instant
    ended: Instant = 0.0
    called: Instant | None = None
    work_began: Instant | None = None
    work_ended: Instant | None = None

    def seconds(self) -> float:
        return seconds_between(self.began, self.ended)

    def waited(self) -> float:
        before = 0.0
        if self.called is not None and self.work_began is not None:
            before = seconds_between(self.called, self.work_began)
        after = 0.0 if self.work_ended is None else seconds_between(self.work_ended, self.ended)
        return before + after


@dataclass(slots=True)
class _Step:
    """The phases of one step; or, with `began` None, one phase between steps."""

    began: Instant | None
    phases: list[_Span] = field(default_factory=list)
    ended: Instant = 0.0

    def report(self, observer: Observer) -> None:
        seconds: dict[str, float] = {}
        for span in self.phases:
            seconds[span.name] = seconds.get(span.name, 0.0) + span.seconds()
        for name, total in seconds.items():
            observer.phase_took(name, total)
        if self.began is not None:
            waited = sum(span.waited() for span in self.phases)
            observer.step_took(seconds_between(self.began, self.ended), waited)
