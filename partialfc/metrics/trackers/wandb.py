"""Weights & Biases: its server, or with WANDB_MODE=offline files in the run's folder."""

import os
import uuid
from collections.abc import Mapping
from typing import Any

from partialfc.errors import TrackerError
from partialfc.metrics.trackers.tracker import KeptError, TrackedRun, package

FINISH_SECONDS = 60.0  # for what is not sent when the run ends; the files stay, for `wandb sync`


class WeightsAndBiases:
    """The figures, by an axis of their own: wandb's count of steps cannot go back, as a resumed run does."""

    forgets = False
    settles_after = 30.0  # its program writes every 15 seconds
    _package: Any
    _run: Any

    def require(self) -> None:
        if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nothing is sent, so no report either
        self._package = wandb = package("wandb", "wandb")
        if wandb.setup().settings.mode in ("online", "shared") and not wandb.login(
            prompt=False, verify=False
        ):
            raise TrackerError(
                "train.trackers: wandb has no key for its server: run `wandb login`, set WANDB_API_KEY, or "
                "set WANDB_MODE=offline to keep the run on this machine"
            )

    def start(self, run: TrackedRun) -> str:
        wandb = self._package
        settings = {"console": "off", "disable_git": True, "save_code": False, "finish_timeout_raises": True}
        if "WANDB_FINISH_TIMEOUT" not in os.environ:
            settings["finish_timeout"] = FINISH_SECONDS
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or run.project,
            name=run.name,
            id=run.id or uuid.uuid4().hex[:12],
            resume="allow",
            dir=os.environ.get("WANDB_DIR") or run.folder,
            settings=wandb.Settings(**settings),
        )
        self._run.config.update(dict(run.config), allow_val_change=True)
        self._run.define_metric("*", step_metric="step")
        return str(self._run.id)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log({"step": step, **figures})

    def finish(self, *, failed: bool) -> None:
        try:
            self._run.finish(exit_code=int(failed))
        except TimeoutError as error:  # its files have all of them
            raise KeptError(str(error)) from error
