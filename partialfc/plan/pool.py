"""The plan of a class pool: its memory, and the communication of a step."""

from dataclasses import dataclass

from partialfc.plan.communication import Communication
from partialfc.plan.pool_communication import pool_communication_of
from partialfc.plan.pool_memory import PoolMemory, pool_checkpoint_of, pool_memory_of
from partialfc.plan.pool_setting import PoolSetting
from partialfc.plan.room import check_room
from partialfc.plan.speed import Speed


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What the pool of a setting needs, and whether it fits; limit, reserve and checkpoint as of `Plan`."""

    setting: PoolSetting
    speed: Speed
    limit: int
    reserve: int
    memory: PoolMemory
    checkpoint: int
    communication: Communication

    @property
    def fits(self) -> bool:
        return self.memory.total <= self.limit - self.reserve


def plan_pool(setting: PoolSetting, *, memory: int, reserve: int = 0, speed: Speed | None = None) -> PoolPlan:
    """Plan `setting` for ranks of `memory` bytes, `reserve` of them for the backbone and its activations.

    speed: how fast the machine is; None takes the assumptions of speed.py. Raises ConfigError.
    """
    check_room(memory, reserve)
    speed = speed or Speed.of(setting)
    return PoolPlan(
        setting=setting,
        speed=speed,
        limit=memory,
        reserve=reserve,
        memory=pool_memory_of(setting),
        checkpoint=pool_checkpoint_of(setting),
        communication=pool_communication_of(setting, speed),
    )
