"""What a run counts, tells and logs about its steps, once the host has heard how they ended."""

import time
from dataclasses import dataclass, field

from partialfc.metrics.run import RunMetrics
from partialfc.metrics.run_log import RunLog
from partialfc.training.batches import Batches
from partialfc.training.interval import Interval
from partialfc.training.log_lines import Measured, summary
from partialfc.training.nonfinite import Evidence, NonFiniteSteps
from partialfc.training.outcome import HeardLater
from partialfc.training.progress import Progress
from partialfc.training.run_state import RunState
from partialfc.training.stages import Stages


@dataclass(kw_only=True, eq=False)
class StepReports:
    """Reports each step to the state's counters, the metrics, the run's log and the terminal, in their order.

    total_steps: of the run. step_samples: of a step, over all ranks. stop: the number of a signal to stop
    that any rank got, once all of them have heard of it; else 0.
    """

    state: RunState
    batches: Batches
    nonfinite: NonFiniteSteps
    metrics: RunMetrics
    run_log: RunLog
    progress: Progress
    stages: Stages
    total_steps: int
    step_samples: int
    stop: int = field(default=0, init=False)
    interval: Interval = field(init=False)
    _loss_scale: float = field(default=1.0, init=False)

    def __post_init__(self) -> None:
        self.interval = Interval(self.state.samples, time.perf_counter(), names=self.state.objective.terms)

    def ended(self, sent: HeardLater, evidence: Evidence, *, queued: int, bad_records: int) -> None:
        """A step has ended. queued, bad_records: of the loader then, as `RunMetrics.stepped` takes them.

        Collective where the step was bad or a loader failed. Raises NonFiniteError at the limit of bad steps,
        and the loader's error on every rank.
        """
        step, heard = evidence.step, sent.heard()
        if heard.loader_failed:
            self.batches.raise_failure()
        self._staged(step)
        self.metrics.stepped(
            step,
            finite=heard.finite or heard.overflowed,
            overflowed=heard.overflowed,
            own_microseconds=heard.own_microseconds,
            queued=queued,
            bad_records=bad_records,
        )
        self.stop, self._loss_scale = heard.stop, heard.scale_after
        if heard.finite:
            self.nonfinite.finished()
            self.interval.add(heard.loss, heard.gradient_norm, heard.terms)
        elif heard.overflowed:
            self._overflowed(step, heard.scale_after)
        else:
            self._bad(evidence)

    def _staged(self, step: int) -> None:
        """Tell the stages that a step was in, and those that began or had ended with it."""
        before = step - 1  # the steps that were done when it began
        values = self.stages.values(before)
        self.metrics.staged(values, self.stages.active(before))
        for place, stage in self.stages.ending(before):
            self.progress.say(f"stages.{place} was over after step {before}: {stage.describe()}")
            self.run_log.record("stage", step, {"stage": place, "begins": False, "settings": values})
        for place, stage in self.stages.beginning(before):
            done = f"{before} step{'' if before == 1 else 's'}"
            self.progress.say(f"stages.{place} began with step {step}, after {done}: {stage.describe()}")
            self.run_log.record("stage", step, {"stage": place, "begins": True, "settings": values})

    def _overflowed(self, step: int, scale: float) -> None:
        self.state.overflow_steps += 1
        self.progress.say(f"skipped step {step}: the gradient overflowed float16; loss scale {scale:g}")
        self.run_log.record("overflow", step, {"loss_scale": scale, "total": self.state.overflow_steps})

    def _bad(self, evidence: Evidence) -> None:
        self.state.nonfinite_steps += 1
        cause = self.nonfinite.bad(evidence)
        self.progress.say(f"skipped {cause}")
        self.run_log.record("nonfinite", evidence.step, {"cause": cause, "total": self.state.nonfinite_steps})

    def line(self, measured: Measured) -> None:
        """The log line of a step, after all steps up to it have ended here, and none after it."""
        terms = self.interval.terms()
        values = {
            **self.interval.means(measured.samples, measured.at),
            **{f"loss_{name}": value for name, value in terms.items()},
            **measured.values(),
            "nonfinite_steps": self.state.nonfinite_steps,
            "overflow_steps": self.state.overflow_steps,
            "loss_scale": self._loss_scale,
            **self.metrics.step_times(),
            **self.stages.values(measured.step - 1),
        }
        self.interval = Interval(measured.samples, measured.at, names=self.state.objective.terms)
        self.run_log.record("train", measured.step, values)
        self.metrics.logged(values, measured.learning_rates, measured.watched, terms)
        left = (self.total_steps - measured.step) * self.step_samples
        seconds_left = left / max(values["images_per_second"], 1e-9)
        self.progress.advance(measured.step, summary(values, terms), seconds_left)
