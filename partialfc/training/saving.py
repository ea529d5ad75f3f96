"""The checkpoints of a run: what is written into one, which is the best, and from which one it resumes."""

import logging
from pathlib import Path

import torch

from partialfc import __version__
from partialfc.checkpoint.folder import CheckpointFolder, find_checkpoint
from partialfc.checkpoint.state import STATE
from partialfc.config import Config
from partialfc.distributed.world import World
from partialfc.errors import ConfigError
from partialfc.metrics.run import RunMetrics
from partialfc.training.run_folder import differences
from partialfc.training.run_state import RunState

log = logging.getLogger(__name__)


class RunCheckpoints:
    """Saves and restores the state and the metrics' counters of one run; its methods are collective."""

    def __init__(
        self, config: Config, world: World, state: RunState, metrics: RunMetrics, *, num_classes: int
    ) -> None:
        self._config = config
        self._world = world
        self._state = state
        self._metrics = metrics
        self._num_classes = num_classes
        self._folder = CheckpointFolder(config.run.dir / "checkpoints", world)
        self._saved_step: int | None = None

    @property
    def path(self) -> Path:
        """Where this step's checkpoint is, or will be."""
        return self._folder.path_of(self._state.step)

    def is_saved(self) -> bool:
        """Whether this step's checkpoint is there already."""
        return self._saved_step == self._state.step

    def save(self) -> None:
        """Write this step's checkpoint, and delete those that are no longer kept."""
        state = self._state
        state.totals = self._metrics.totals()
        self._world.broadcast_buffers(state.backbone)
        about = {
            "world_size": self._world.size,
            "config": self._config.model_dump(mode="json"),
            "versions": {"partialfc": __version__, "torch": torch.__version__},
        }
        self._folder.save(state.step, state.tensors(), about | state.values(), num_classes=self._num_classes)
        self._folder.prune(self._config.checkpoint.keep_last)
        self._saved_step = state.step

    def is_best(self, score: float) -> bool:
        """Note a verification's score; True where this step's checkpoint is to be kept as the best so far."""
        if self._state.best is not None and score <= self._state.best:
            return False
        self._state.best = score
        return self._config.checkpoint.keep_best

    def mark_best(self) -> None:
        """Mark this step's checkpoint, which must have been saved, as the best."""
        self._folder.mark_best(self.path)

    def resume(self) -> None:
        """Restore the checkpoint that `checkpoint.resume` asks for, if there is one.

        Raises ConfigError where it says never but the run has checkpoints, CheckpointError where the one that
        it names is missing or damaged, or does not fit this run.
        """
        how = self._config.checkpoint.resume
        newest = self._folder.newest_whole()
        if how == "never":
            if newest is not None:
                raise ConfigError(
                    f"checkpoint.resume is never, but {self._folder.path} holds checkpoints of another "
                    "run: choose another run.dir, or delete them"
                )
            return
        checkpoint = newest if how == "auto" else find_checkpoint(Path(how))
        if checkpoint is None:
            return
        values, tensors = self._folder.load(checkpoint, self._state.tensors(), num_classes=self._num_classes)
        self._state.restore(values, tensors)
        self._metrics.restore(self._state.totals, (checkpoint / STATE).stat().st_mtime)
        self._saved_step = self._state.step
        if self._world.rank == 0:
            log.info("resumed from %s, written with a world size of %d", checkpoint, values["world_size"])
            changed = differences(values["config"], self._config.model_dump(mode="json"))
            if changed:
                log.warning("resumed with other settings than it was saved with: %s", "; ".join(changed))
