"""What each step of a run uses: its learning rates, and the settings of the stages that it is in."""

from partialfc.config import Config, settings
from partialfc.training.builders.schedule import build_schedule
from partialfc.training.builders.stages import build_stages
from partialfc.training.head_settings import MARGIN
from partialfc.training.run_state import RunState
from partialfc.training.stages import Value


class StepSettings:
    """Sets between steps what the config's `schedule` and `stages` change, pure functions of the step."""

    def __init__(self, config: Config, *, total_steps: int, epoch_steps: float) -> None:
        """total_steps: of the run; epoch_steps: of an epoch, which need not be a whole number.

        Raises ConfigError for a schedule that the run is too short for, and for what no head takes.
        """
        self._config = config
        self._schedule = build_schedule(config.schedule, total_steps=total_steps, epoch_steps=epoch_steps)
        self.stages = build_stages(config, total_steps=total_steps, epoch_steps=epoch_steps)
        self._set: dict[str, Value] = settings(config)  # by key, what the objective has

    def enter(self, state: RunState) -> None:
        """Before a step, whose number is that of the steps done."""
        factor, peak = self._schedule(state.step), self._config.optimizer
        state.set_learning_rates(peak.lr * factor, peak.effective_head_lr * factor)
        values = self.stages.values(state.step)
        changed = {key for key, value in values.items() if self._set[key] != value}
        settled = not any(key.startswith(MARGIN) for key in self.stages.moving(state.step))
        state.objective.reconfigure(values, changed=changed, settled=settled)
        self._set |= values
