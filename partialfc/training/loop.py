"""The training loop: its steps, and the log lines, verifications and checkpoints between them."""

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from partialfc.config import CheckpointConfig, Config, VerificationConfig, dump_config
from partialfc.data.images.normalise import normalise
from partialfc.data.loading.sampler import split_batch
from partialfc.distributed.device import autocast_dtype
from partialfc.distributed.first_rank import on_first_rank
from partialfc.distributed.together import together
from partialfc.distributed.world import World
from partialfc.files import write_whole
from partialfc.metrics.run_log import RunLog
from partialfc.training.angles import is_measured
from partialfc.training.batches import Batches
from partialfc.training.builders.backbone import warn_of_slow_amp
from partialfc.training.builders.data import build_loader_from, open_training_source, resolve_num_classes
from partialfc.training.builders.finetune import begin_centres
from partialfc.training.builders.metrics import build_metrics, build_trackers, publishing
from partialfc.training.builders.schedule import total_steps
from partialfc.training.builders.state import build_state, seed_rank
from partialfc.training.builders.verification import build_verification
from partialfc.training.due import is_due
from partialfc.training.later import Later
from partialfc.training.log_lines import Measured, introduction
from partialfc.training.nonfinite import Evidence, NonFiniteSteps
from partialfc.training.outcome import Outcome
from partialfc.training.progress import Progress
from partialfc.training.replicas import replicate, without_reduction
from partialfc.training.requirements import require_sample_each
from partialfc.training.run_folder import make_run_dir
from partialfc.training.saving import RunCheckpoints
from partialfc.training.step_loss import StepLoss
from partialfc.training.step_reports import StepReports
from partialfc.training.step_settings import StepSettings
from partialfc.training.stopping import StopSignal


class Trainer:
    """One run on one rank: built from a config, resumed from a checkpoint where there is one, then trained.

    Building, `running` and `run` are collective. Raises the project's own errors for a config, data or a
    checkpoint that cannot be used.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.world = World.of()
        self.amp = autocast_dtype(config.train.amp, device)
        make_run_dir(config.run.dir, self.world)
        require_sample_each(config.train.batch_size, self.world.size)
        self.source = open_training_source(config.data, config.run.dir, self.world)
        with together(self.world):
            self.num_classes = resolve_num_classes(config.data, self.source)
            self.verification = build_verification(config, self.world, device)
        epoch_steps = len(self.source) / config.train.samples_per_step
        self.total_steps = total_steps(config.train, len(self.source))
        self.settings = StepSettings(config, total_steps=self.total_steps, epoch_steps=epoch_steps)
        with together(self.world):
            self.state = build_state(
                config, self.source, num_classes=self.num_classes, world=self.world, device=device
            )
        self.objective = self.state.objective
        size = config.data.image_size
        own = len(range(*split_batch(config.train.batch_size, self.world.rank, self.world.size)))
        pixels = torch.zeros(own, config.data.channels, size, size, dtype=torch.uint8)
        self.forward_network = replicate(
            self.objective.network,
            self.world,
            self._input(pixels),
            compile=config.backbone.compile,
            whole_in_evaluation=self.objective.whole_in_evaluation,
            amp=self.amp,
        )
        if self.world.rank == 0:
            warn_of_slow_amp(config.train.amp, device)
        self.metrics = build_metrics(config.metrics, config.run.dir, self.state, self.world)
        self.clock = self.metrics.clock
        self.later = Later(device)
        self.checkpoints = RunCheckpoints(
            config, self.world, self.state, self.metrics, self.source, num_classes=self.num_classes
        )
        seed_rank(config.run.seed, self.world.rank)
        if not self.checkpoints.resume():
            begin_centres(config, self.objective, self.source, self.world, device, self.amp)
        self.loader = build_loader_from(
            config.data,
            self.source,
            device,
            num_classes=self.num_classes,
            batch_size=config.train.batch_size,
            seed=config.run.seed,
            rank=self.world.rank,
            world_size=self.world.size,
            position=self.state.samples,
        )
        self.batches = Batches(self.loader, self.world, channels=config.data.channels, image_size=size)
        first_rank, start_step = self.world.rank == 0, self.state.step
        self.run_log = RunLog(config.run.dir, build_trackers(config))
        self.progress = Progress(active=first_rank, total_steps=self.total_steps, start_step=start_step)
        nonfinite = NonFiniteSteps(
            self.objective,
            self.world,
            limit=config.train.max_nonfinite_steps,
            float16=self.state.loss_scale.enabled,
        )
        self.reports = StepReports(
            state=self.state,
            batches=self.batches,
            nonfinite=nonfinite,
            metrics=self.metrics,
            run_log=self.run_log,
            progress=self.progress,
            stages=self.settings.stages,
            total_steps=self.total_steps,
            step_samples=config.train.samples_per_step,
        )
        self._stop = StopSignal()
        self.stopped_by = 0  # the number of the signal, on any rank, that stopped `run`
        on_first_rank(self.world, self._begin_files)

    def _begin_files(self) -> None:
        """On rank 0: the files of the run's folder that are not of a checkpoint."""
        write_whole(self.config.run.dir / "config.yaml", dump_config(self.config))
        self.run_log.begin(self.state.step)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around `run`: metrics are published, and a signal to stop ends it after the step that it is in.

        On an accelerator, all ranks hear of the signal when they have done one more step.
        """
        try:
            with (
                self._stop.caught(),
                publishing(self.config.metrics, self.metrics.registry, self.world),
                self.metrics.running(self.state.step, self.total_steps, self.forward_network),
                self.later.finished_after_errors(),
            ):
                yield
        finally:
            self.loader.close()
            self.progress.close()
            self.run_log.close(failed=sys.exception() is not None)

    def run(self) -> bool:
        """Train to the last step; False if a signal stopped it before that, once a checkpoint was saved."""
        state, config = self.state, self.config
        self.progress.say(
            introduction(
                state,
                config.backbone.name,
                classes=self.num_classes,
                images=len(self.source),
                ranks=self.world.size,
                steps=self.total_steps,
                step_images=config.train.samples_per_step,
            )
        )
        if state.step == 0 and config.verification.at_start:
            self._verify()
        while state.step < self.total_steps:
            with self.clock.step():
                loss = self._train_step()
            last = state.step == self.total_steps
            verify, save = (last or self._due(period) for period in (config.verification, config.checkpoint))
            measure = verify or is_measured(state.step, self.total_steps)
            if verify or save or measure:
                self.later.finish()
            stop = self.reports.stop
            if last or stop or state.step == 1 or state.step % config.train.log_every == 0:
                self._log()
            if stop and not last:
                self._save()
                self.stopped_by = stop
                self.progress.say(
                    f"stopped by {signal.Signals(stop).name} at step {state.step} of {self.total_steps}; "
                    "the same command resumes from here"
                )
                return False
            if measure:
                self._record(loss)
            if verify:
                self._verify()
            if save:
                self._save()
        self._save()  # where no step was left to train, from a checkpoint of another folder
        beyond = f" (it had {state.step:,} already)" if state.step > self.total_steps else ""
        self.progress.say(f"finished {self.total_steps:,} steps{beyond}; the run is in {config.run.dir}")
        return True

    def _train_step(self) -> StepLoss:
        """One optimizer step over all micro-batches, and what the host does about the one before."""
        config = self.config.train
        self.settings.enter(self.state)
        self.objective.keep()
        loss = StepLoss(self.objective, self.device, micro_batches=config.accumulation)
        for micro in range(config.accumulation):
            with self.clock.phase("data_wait"):
                images, labels = self.batches.take()
            last = micro == config.accumulation - 1  # its backward pass sums all gradients over the ranks
            with nullcontext() if last else without_reduction(self.forward_network):
                with torch.autocast(self.device.type, dtype=self.amp, enabled=self.amp is not None):
                    with self.clock.phase("backbone"):
                        inputs = self._input(images)
                        outputs = self.forward_network(inputs)
                    with self.clock.phase("head_forward"):
                        part = loss.part(inputs, outputs, labels)
                with self.clock.phase("backward"):
                    self.state.loss_scale.backward(part)
        with self.clock.phase("optimizer"):
            self._update(loss)
        self.later.catch_up(self.state.step)
        return loss

    def _update(self, loss: StepLoss) -> None:
        """The end of a step: all is moved, or on no rank anything where one's gradient is not finite."""
        state, config = self.state, self.config.train
        state.loss_scale.unscale(*state.optimizers)
        limit = math.inf if config.clip_norm is None else config.clip_norm
        norm = nn.utils.clip_grad_norm_(self.objective.network.parameters(), limit)
        state.step += 1
        state.samples = self.loader.position
        outcome = Outcome(
            self.world,
            loss.total,
            norm,
            loader_failed=self.batches.failed,
            stop=self._stop.number,
            own_microseconds=self.metrics.own_microseconds,
        )
        for optimizer in state.optimizers:
            outcome.apply(optimizer)
        self.objective.restore(outcome.skip)
        self.objective.stepped(outcome.skip)
        scale = state.loss_scale.scale
        state.loss_scale.update(bad_loss=outcome.bad_loss, skip=outcome.skip)
        finite = self.objective.centres_finite()
        evidence = Evidence(state.step, loss.embeddings, loss.total, finite, loss.by_name())
        ended = partial(
            self.reports.ended,
            outcome.sent(scale, state.loss_scale.scale, loss.terms),
            evidence,
            queued=self.loader.queued,
            bad_records=self.loader.bad_records,
        )
        self.later.add(state.step, ended)

    def _input(self, images: Tensor) -> Tensor:
        """The loader's uint8 images [B, channels, H, W] -> the network's input in [-1, 1], on its device."""
        memory = torch.channels_last if self.config.backbone.channels_last else torch.contiguous_format
        return normalise(images.to(self.device, non_blocking=True), memory_format=memory)

    def _log(self) -> None:
        """A log line about this step and the interval since the last line."""
        measured = Measured(self.state, self.metrics.measure(), epoch_samples=len(self.source))
        self.later.add(measured.step, partial(self.reports.line, measured))
        self.later.catch_up(self.state.step)

    def _record(self, loss: StepLoss) -> None:
        """Note in the run's log what the objective measures now and then."""
        self.later.finish()
        with self.reports.interval.paused():
            for event, values in self.objective.records(loss.embeddings[-1], loss.labels):
                self.run_log.record(event, self.state.step, values)

    def _verify(self) -> None:
        """Verify every set, on all ranks together; save a checkpoint if its score is the best so far."""
        self.later.finish()
        if not len(self.verification):
            return
        step, accuracy = self.state.step, {}
        with self.reports.interval.paused(), self.clock.phase("verification"):
            for name, result in self.verification.verify(
                self.objective.verified, step, **self.objective.matching
            ):
                accuracy[name] = result.accuracy
                self.metrics.verified(name, result)
                self.run_log.record("verification", step, {"set": name, **result.to_dict()})
                self.progress.say(f"verification at step {step}: {name}: {result.describe()}")
        best_set = self.config.verification.best_set
        if step and best_set is not None and self.checkpoints.is_best(accuracy[best_set]):
            self._save()
            self.checkpoints.mark_best()

    def _save(self) -> None:
        """Save this step's checkpoint, unless it is saved already for another reason."""
        self.later.finish()
        if self.checkpoints.is_saved():
            return
        started = time.perf_counter()
        with self.reports.interval.paused(), self.clock.phase("checkpoint"):
            self.checkpoints.save()
        seconds = time.perf_counter() - started
        path = self.checkpoints.path
        self.metrics.saved(path)
        values = {"path": str(path), "seconds": round(seconds, 3)}
        self.run_log.record("checkpoint", self.state.step, values)

    def _due(self, period: CheckpointConfig | VerificationConfig) -> bool:
        return is_due(
            every_steps=period.every_steps,
            every_epochs=period.every_epochs,
            step=self.state.step,
            samples=self.state.samples,
            samples_per_step=self.config.train.samples_per_step,
            samples_per_epoch=len(self.source),
        )
