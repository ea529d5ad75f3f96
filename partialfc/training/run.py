"""A whole run: joins its process group, locks its folder, and trains."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta

import torch

from partialfc.config import Config
from partialfc.distributed.device import local_device
from partialfc.distributed.failures import naming_failures
from partialfc.distributed.group import process_group
from partialfc.distributed.torchrun import ending_with_launcher
from partialfc.distributed.world import World
from partialfc.training.determinism import set_determinism
from partialfc.training.loop import Trainer
from partialfc.training.run_folder import run_lock
from partialfc.training.stopping import ended_by_signals


def train(config: Config, *, prepare: Callable[[World], Config] | None = None) -> int:
    """Run or resume what the config describes; returns 0 when it finished, or the signal that stopped it.

    prepare: collective, called when the ranks have met and run.dir is locked; what it returns is trained, and
    `config` says only where the run is and how the ranks meet. A signal to stop that comes before the run is
    built ends the process.
    """
    set_determinism(config.train.deterministic)
    device = local_device(config.train.device)
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    timeout = timedelta(seconds=config.train.timeout_seconds)
    with ExitStack() as building:
        building.enter_context(ended_by_signals())
        with (
            ending_with_launcher(),
            process_group(device, timeout=timeout),
            run_lock(config.run.dir, World.of()),
        ):
            return _run(config if prepare is None else prepare(World.of()), device, building)


def _run(config: Config, device: torch.device, building: ExitStack) -> int:
    """The run within its group, all of whose users are gone when this returns.

    building: what holds until the run is built.
    """
    trainer = Trainer(config, device)
    building.close()
    world = trainer.world
    with trainer.running(), naming_failures("a training step", rank=world.rank, size=world.size):
        trainer.run()
    return trainer.stopped_by
