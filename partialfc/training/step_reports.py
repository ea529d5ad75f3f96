"""What a run counts, tells and logs about its steps, once the host has heard how they ended."""

import time

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


class StepReports:
    """Reports each step to the state's counters, the metrics, the run's log and the terminal, in their order.

    stop: the number of a signal to stop that any rank got, once all of them have heard of it; else 0.
    """

    def __init__(
        self,
        state: RunState,
        batches: Batches,
        nonfinite: NonFiniteSteps,
        metrics: RunMetrics,
        run_log: RunLog,
        progress: Progress,
        stages: Stages,
        *,
        total_steps: int,
        step_samples: int,
    ) -> None:
        """total_steps: of the run; step_samples: of a step, over all ranks."""
        self._state = state
        self._batches = batches
        self._nonfinite = nonfinite
        self._metrics = metrics
        self._run_log = run_log
        self._progress = progress
        self._stages = stages
        self._total_steps = total_steps
        self._step_samples = step_samples
        self._loss_scale = 1.0
        self.stop = 0
        self.interval = Interval(state.samples, time.perf_counter(), names=state.objective.terms)

    def ended(self, sent: HeardLater, evidence: Evidence, *, queued: int, bad_records: int) -> None:
        """A step has ended. queued, bad_records: of the loader then, as `RunMetrics.stepped` takes them.

        Collective where the step was bad or a loader failed. Raises NonFiniteError at the limit of bad steps,
        and the loader's error on every rank.
        """
        step, heard = evidence.step, sent.heard()
        if heard.loader_failed:
            self._batches.raise_failure()
        self._staged(step)
        self._metrics.stepped(
            step,
            finite=heard.finite or heard.overflowed,
            overflowed=heard.overflowed,
            own_microseconds=heard.own_microseconds,
            queued=queued,
            bad_records=bad_records,
        )
        self.stop, self._loss_scale = heard.stop, heard.scale_after
        if heard.finite:
            self._nonfinite.finished()
            self.interval.add(heard.loss, heard.gradient_norm, heard.terms)
        elif heard.overflowed:
            self._overflowed(step, heard.scale_after)
        else:
            self._bad(evidence)

    def _staged(self, step: int) -> None:
        """Tell the stages that a step was in, and those that began or had ended with it."""
        before = step - 1  # the steps that were done when it began
        values = self._stages.values(before)
        self._metrics.staged(values, self._stages.active(before))
        for place, stage in self._stages.ending(before):
            self._progress.say(f"stages.{place} was over after step {before}: {stage.describe()}")
            self._run_log.record("stage", step, {"stage": place, "begins": False, "settings": values})
        for place, stage in self._stages.beginning(before):
            done = f"{before} step{'' if before == 1 else 's'}"
            self._progress.say(f"stages.{place} began with step {step}, after {done}: {stage.describe()}")
            self._run_log.record("stage", step, {"stage": place, "begins": True, "settings": values})

    def _overflowed(self, step: int, scale: float) -> None:
        self._state.overflow_steps += 1
        self._progress.say(f"skipped step {step}: the gradient overflowed float16; loss scale {scale:g}")
        self._run_log.record("overflow", step, {"loss_scale": scale, "total": self._state.overflow_steps})

    def _bad(self, evidence: Evidence) -> None:
        self._state.nonfinite_steps += 1
        cause = self._nonfinite.bad(evidence)
        self._progress.say(f"skipped {cause}")
        self._run_log.record(
            "nonfinite", evidence.step, {"cause": cause, "total": self._state.nonfinite_steps}
        )

    def line(self, measured: Measured) -> None:
        """The log line of a step, after all steps up to it have ended here, and none after it."""
        terms = self.interval.terms()
        values = {
            **self.interval.means(measured.samples, measured.at),
            **{f"loss_{name}": value for name, value in terms.items()},
            **measured.values(),
            "nonfinite_steps": self._state.nonfinite_steps,
            "overflow_steps": self._state.overflow_steps,
            "loss_scale": self._loss_scale,
            **self._metrics.step_times(),
            **self._stages.values(measured.step - 1),
        }
        self.interval = Interval(measured.samples, measured.at, names=self._state.objective.terms)
        self._run_log.record("train", measured.step, values)
        self._metrics.logged(values, measured.learning_rates, measured.watched, terms)
        left = (self._total_steps - measured.step) * self._step_samples
        seconds_left = left / max(values["images_per_second"], 1e-9)
        self._progress.advance(measured.step, summary(values, terms), seconds_left)
