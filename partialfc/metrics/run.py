"""The metrics of one rank of a training run: the trainer reports what happens, and this counts it."""

import json
import math
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from partialfc import __version__
from partialfc.distributed.world import World
from partialfc.evaluation.verification import Verification
from partialfc.metrics.families import FAMILIES, STEP_PHASES
from partialfc.metrics.process_memory import follow_memory
from partialfc.metrics.registry import Registry, Totals
from partialfc.metrics.step_clock import StepClock
from partialfc.metrics.step_times import StepTimes
from partialfc.metrics.watch import Values, Watch

RECENT_STEPS = 20  # a rank's own step time is the median of the last so many
TAR = "tar@far="


class RunMetrics:
    """One rank's metrics: `clock` times the loop's steps and phases, the other calls report what happened.

    Only the end of `running` waits for the device, only `totals` is collective. watch: gives what watches the
    trained embeddings, from the registry and the `observer` of its collectives. others: worlds of the same
    ranks whose collectives are counted too.
    """

    def __init__(
        self,
        *,
        run: str,
        world: World,
        watch: Callable[..., Watch],
        device: torch.device,
        others: Sequence[World] = (),
    ) -> None:
        self.registry = Registry(run=run, rank=world.rank)
        self.clock = StepClock(device, self)
        self._watch = watch(self.registry, observer=self._collective_took)
        self._world = world
        self._device = device
        self._gradient_bytes = 0
        self._in_collectives = 0.0
        self._own: deque[float] = deque(maxlen=RECENT_STEPS)
        self._times = StepTimes(STEP_PHASES)
        self._bad_records = 0
        for each in (world, *others):
            each.traffic.observer = self._collective_took
        follow_memory(self.registry, device)
        self.registry.set("partialfc_world_size", world.size)
        self.registry.info(
            "partialfc_build_info",
            version=__version__,
            torch=torch.__version__,
            python=platform.python_version(),
            backend=world.backend(device),
        )

    @contextmanager
    def running(self, step: int, planned_steps: int, backbone: nn.Module) -> Iterator[None]:
        """Around the loop. step: the last one before it; backbone: the module that the loop calls."""
        if isinstance(backbone, DistributedDataParallel):
            self._gradient_bytes = sum(p.nbytes for p in backbone.parameters() if p.requires_grad)
        self.registry.set("partialfc_step", step)
        self.registry.set("partialfc_planned_steps", planned_steps)
        self.registry.set("partialfc_running", 1)
        try:
            with self.clock.watching(backbone):
                yield
            self.clock.report_all()
        finally:
            self.registry.set("partialfc_running", 0)

    @property
    def own_microseconds(self) -> int:
        """How long this rank's last steps took without waiting for others; 0 before the first."""
        return round(1e6 * statistics.median(self._own)) if self._own else 0

    def stepped(
        self,
        step: int,
        *,
        finite: bool,
        overflowed: bool,
        own_microseconds: npt.NDArray[np.int64],
        queued: int,
        bad_records: int,
    ) -> None:
        """A step is done; if not finite, or if its scaled gradient overflowed, it was skipped.

        own_microseconds [W]: of every rank, by rank. queued: batches that the loader has read ahead.
        bad_records: how many records it has skipped since this process began.
        """
        self.registry.add("partialfc_steps_total")
        self.registry.add("partialfc_nonfinite_steps_total", not finite)
        self.registry.add("partialfc_overflow_steps_total", overflowed)
        self.registry.set("partialfc_step", step)
        self.registry.set("partialfc_last_step_timestamp_seconds", time.time())
        self.registry.set("partialfc_loader_queue_batches", queued)
        self.registry.add("partialfc_bad_records_total", bad_records - self._bad_records)
        self._bad_records = bad_records
        if own_microseconds.all():
            median = np.sort(own_microseconds)[(len(own_microseconds) - 1) // 2]  # the lower of two
            ratio = own_microseconds.max() / median
            self.registry.set("partialfc_straggler_ratio", float(ratio))

    def staged(self, values: Mapping[str, float | None], active: Sequence[bool]) -> None:
        """Before a step: the settings that stages change, by key, and which of the stages it is in."""
        for key, value in values.items():
            self.registry.set("partialfc_setting", math.nan if value is None else value, key=key)
        for index, is_in in enumerate(active):
            self.registry.set("partialfc_stage", is_in, stage=str(index))

    def measure(self) -> Values:
        """Ask for what a log line about the last step reports of embeddings and centres."""
        return self._watch.measure()

    def logged(
        self,
        values: Mapping[str, Any],
        learning_rates: Mapping[str, float],
        watched: Values,
        terms: Mapping[str, float],
    ) -> None:
        """A log line: its loss, gradient_norm, epoch and loss_scale; learning_rates: by group.

        watched: what `measure` gave in the line's step; terms: of the loss, by name.
        """
        for name, value in terms.items():
            self.registry.set("partialfc_loss_term", value, loss=name)
        for name in ("loss", "gradient_norm", "epoch", "loss_scale"):
            self.registry.set(f"partialfc_{name}", values[name])
        for group, rate in learning_rates.items():
            self.registry.set("partialfc_learning_rate", rate, group=group)
        self._watch.log(watched)

    def step_times(self) -> dict[str, Any]:
        """What a log line says of the steps that were timed since the last one; see `StepTimes.means`."""
        return self._times.means()

    def verified(self, name: str, result: Verification) -> None:
        """A verification set's result."""
        self.registry.set("partialfc_verification_accuracy", result.accuracy, set=name)
        for key, rate in result.to_dict().items():
            if key.startswith(TAR) and rate is not None:
                far = key.removeprefix(TAR)
                self.registry.set("partialfc_verification_tar", rate, set=name, far=far)

    def saved(self, checkpoint: Path) -> None:
        """A checkpoint has been written. Its time is that of the clock's phase "checkpoint" around it."""
        self.registry.add("partialfc_checkpoints_total")
        self.registry.set("partialfc_checkpoint_timestamp_seconds", time.time())
        if self._world.rank == 0:
            size = sum(file.stat().st_size for file in checkpoint.iterdir())
            self.registry.set("partialfc_checkpoint_bytes", size)

    def totals(self) -> list[Totals]:
        """Every rank's counters [W], for a checkpoint; collective."""
        return [json.loads(text) for text in self._world.gather_texts(json.dumps(self.registry.totals()))]

    def restore(self, totals: Sequence[Totals], checkpoint_time: float) -> None:
        """Continue the counters from a checkpoint's totals, of every rank that wrote it.

        checkpoint_time: the Unix time at which it was written. At another world size the sums over the ranks
        stay the same: rank r takes the totals of the ranks r, r + W, r + 2W, ...
        """
        self.registry.set("partialfc_checkpoint_timestamp_seconds", checkpoint_time)
        self.registry.add("partialfc_checkpoints_total")  # that checkpoint, which is not in its own totals
        if len(totals) == self._world.size:
            self.registry.restore(totals[self._world.rank])
            return
        for total in totals[self._world.rank :: self._world.size]:
            self.registry.restore(_only(total, everywhere=False))
        for total in totals[:1]:
            self.registry.restore(_only(total, everywhere=True))

    def phase_took(self, phase: str, seconds: float) -> None:
        """The clock reports a phase."""
        self.registry.observe("partialfc_phase_seconds", seconds, phase=phase)
        self._times.phase(phase, seconds)
        if phase == "checkpoint":
            self.registry.observe("partialfc_checkpoint_seconds", seconds)
        if phase not in STEP_PHASES:
            self._in_collectives = 0.0

    def step_took(self, seconds: float, waited: float) -> None:
        """The clock reports a step, of which DistributedDataParallel waited for other ranks that long."""
        self.registry.observe("partialfc_step_seconds", seconds)
        self._times.step(seconds)
        if self._gradient_bytes:
            self.registry.collective("all_reduce", self._gradient_bytes, waited)
        self._own.append(max(seconds - waited - self._in_collectives, 0.0))
        self._in_collectives = 0.0

    def _collective_took(self, collective: str, size: int, seconds: float) -> None:
        self.registry.collective(collective, size, seconds)
        self._in_collectives += seconds


def _only(totals: Totals, *, everywhere: bool) -> Totals:
    return {k: v for k, v in totals.items() if k in FAMILIES and FAMILIES[k].everywhere == everywhere}
