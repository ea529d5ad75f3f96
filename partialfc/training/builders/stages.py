"""The stages of a run, in steps, and the settings that they change."""

import logging
import math
from collections.abc import Mapping
from functools import partial

import torch

from partialfc.config import Config, settings, with_settings
from partialfc.errors import ConfigError
from partialfc.head.margins.base import Margin
from partialfc.training.builders.head import build_head, build_head_margin
from partialfc.training.head_settings import reconfigure
from partialfc.training.stages import Stage, Stages, Value

log = logging.getLogger(__name__)


def build_stages(config: Config, *, total_steps: int, epoch_steps: float) -> Stages:
    """epoch_steps: steps of an epoch, which need not be a whole number.

    Raises ConfigError where the head will refuse what a stage gives it.
    """
    stages = []
    for index, section in enumerate(config.stages):
        each = 1.0 if section.unit == "step" else epoch_steps
        start = math.ceil(section.start * each)
        stop = total_steps if section.until is None else math.ceil(section.until * each)
        if start >= total_steps:
            log.warning("stages.%d changes nothing: it begins after the run's %d steps", index, total_steps)
        elif start >= stop:
            log.warning("stages.%d changes nothing: it is shorter than a step", index)
        lines = {key: change for key, change in section.changes.items() if isinstance(change, dict)}
        held = {key: change for key, change in section.changes.items() if key not in lines}
        ramps = {key: (line["from"], line["to"]) for key, line in lines.items()}
        stages.append(Stage(start=start, stop=stop, held=held, ramps=ramps))
    found = Stages(stages, settings(config))
    if found:
        _try(config, found)
    return found


def _try(config: Config, stages: Stages) -> None:
    """Take a small head through all stages. Raises ConfigError where it refuses one."""
    small = config.head.model_copy(update={"class_weights": None, "compile": False})
    head = build_head(small, embedding_size=2, num_classes=1, seed=0, device=torch.device("cpu"))
    for step in stages.borders():
        values = stages.values(step)
        try:
            reconfigure(head, partial(margin_with, config), values, changed=values.keys(), settled=True)
        except ValueError as error:
            raise ConfigError(f"stages, in step {step}: {error}") from error


def margin_with(config: Config, values: Mapping[str, Value]) -> Margin:
    """The config's margin with some settings, by key, in place of its own."""
    return build_head_margin(with_settings(config, values).head)
