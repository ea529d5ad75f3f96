"""The checkpoints of a run: what is written into one, which is the best, and from which one it resumes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from partialfc import __version__
from partialfc.checkpoint.folder import CheckpointFolder
from partialfc.checkpoint.lineage import Lineage
from partialfc.checkpoint.start import Start, named, newest
from partialfc.checkpoint.state import STATE, read_state
from partialfc.config import Config
from partialfc.data.sources.labelled import Labelled
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError, ConfigError
from partialfc.metrics.run import RunMetrics
from partialfc.training.resumable import REMEDY, obstacles
from partialfc.training.run_folder import differences
from partialfc.training.run_state import RunState
from partialfc.training.same_data import facts_of, other_classes, way_out

log = logging.getLogger(__name__)


class RunCheckpoints:
    """Saves and restores the state and the metrics' counters of one run; its methods are collective."""

    def __init__(
        self,
        config: Config,
        world: World,
        state: RunState,
        metrics: RunMetrics,
        source: Labelled,
        *,
        num_classes: int,
    ) -> None:
        self._config = config
        self._world = world
        self._state = state
        self._metrics = metrics
        self._source = source
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
        self._world.broadcast_buffers(state.objective.network)
        about = {
            "world_size": self._world.size,
            "config": self._config.model_dump(mode="json"),
            "data": facts_of(self._source),
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

    def resume(self) -> bool:
        """Restore the checkpoint that `checkpoint.resume` asks for; False if there is none.

        Raises ConfigError where it says never but the run has checkpoints, CheckpointError where the one that
        it names is missing or damaged, or does not fit this run.
        """
        start = find_start(self._folder, self._config.checkpoint.resume)
        if start is None:
            self._folder.go_on_from(Lineage())
            return False
        self._folder.go_on_from(start.lineage)
        checkpoint = start.checkpoint
        with _of_such_a_run(checkpoint):
            now = self._config.model_dump(mode="json")
            saved = read_state(checkpoint)
            if found := obstacles(saved["config"], now):
                raise CheckpointError(f"it is of another run: {'; '.join(found)}; {REMEDY}")
            if differs := other_classes(
                checkpoint, saved, self._source, now["data"], num_classes=self._num_classes
            ):
                raise CheckpointError(f"it is of other classes: {differs}; {way_out(checkpoint)}")
        values, tensors = self._folder.load(checkpoint, self._state.tensors(), num_classes=self._num_classes)
        with _of_such_a_run(checkpoint):
            about = self._config.backbone
            self._state.restore(values, tensors, backbone=about.name, embedding_size=about.embedding_size)
            self._metrics.restore(self._state.totals, (checkpoint / STATE).stat().st_mtime)
            changed = differences(values["config"], now)
        if checkpoint.resolve().parent == self._folder.path.resolve():  # else the run has none of its own yet
            self._saved_step = self._state.step
        if self._world.rank == 0:
            self._tell(start)
            log.info("resumed from %s, written with a world size of %d", checkpoint, values["world_size"])
            if changed:
                log.warning("resumed with other settings than it was saved with: %s", "; ".join(changed))
        return True

    def _tell(self, start: Start) -> None:
        """Log why it is this checkpoint, where a user may have expected another."""
        if start.again:
            log.info(
                "checkpoint.resume is %s, from which this run began before: it goes on. To begin there anew, "
                "choose another run.dir, or delete the checkpoints that came after it",
                self._config.checkpoint.resume,
            )
        elif start.aside:
            log.info(
                "%s in %s did not lead to this one: left aside, and deleted once the run has %d checkpoints "
                "that did (checkpoint.keep_last)",
                *(", ".join(start.aside), self._folder.path, self._config.checkpoint.keep_last),
            )


@contextmanager
def _of_such_a_run(checkpoint: Path) -> Iterator[None]:
    """CheckpointError where the block finds that the checkpoint holds something else than this run saves."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint}: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        problem = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{checkpoint} does not hold what this run saves ({type(error).__name__}: {problem})"
        ) from error


def find_start(folder: CheckpointFolder, how: str) -> Start | None:
    """Collective: what `checkpoint.resume` asks for; None where the run starts from the beginning.

    Raises ConfigError where it is never but the run has checkpoints, CheckpointError where what it names is
    missing or damaged.
    """
    if how == "auto":
        return newest(folder)
    if how != "never":
        return named(folder, Path(how))
    if folder.records().found:
        raise ConfigError(
            f"checkpoint.resume is never, but {folder.path} holds checkpoints of another run: choose another "
            "run.dir, or delete them"
        )
    return None
