"""TensorBoard: event files in the run's folder."""

from collections.abc import Mapping
from typing import Any

from partialfc.files import json_text
from partialfc.metrics.trackers.tracker import TrackedRun, package


class TensorBoard:
    """Writes RUN/tensorboard, which `tensorboard --logdir` shows."""

    forgets = True
    settles_after = 0.0
    _package: Any
    _writer: Any

    def require(self) -> None:
        self._package = package("torch.utils.tensorboard", "tensorboard")

    def start(self, run: TrackedRun) -> str:
        folder = run.folder / "tensorboard"
        self._writer = self._package.SummaryWriter(folder, purge_step=run.start_step + 1)
        if run.id is None:
            self._writer.add_text(
                "config", f"```json\n{json_text(run.config, indent=1)}\n```", run.start_step
            )
        return folder.name

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, *, failed: bool) -> None:
        self._writer.close()
