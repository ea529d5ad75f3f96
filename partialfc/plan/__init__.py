"""What a head or a class pool will need, computed before it is built: its memory, the communication of a step
and, of a head, its time.

May import `head` and `errors`.
"""

from dataclasses import dataclass

from partialfc.plan.advice import Alternative, alternatives, most_classes
from partialfc.plan.communication import Collective, Communication, communication_of
from partialfc.plan.floor import Floor, floor_of
from partialfc.plan.memory import Memory, memory_of, stored_bytes
from partialfc.plan.pool import PoolPlan, plan_pool
from partialfc.plan.pool_setting import PoolSetting
from partialfc.plan.room import check_room
from partialfc.plan.setting import Setting
from partialfc.plan.speed import Speed

__all__ = [
    "Alternative",
    "Collective",
    "Communication",
    "Floor",
    "Memory",
    "Plan",
    "PoolPlan",
    "PoolSetting",
    "Setting",
    "Speed",
    "floor_of",
    "memory_of",
    "plan",
    "plan_pool",
]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the head of a setting needs, and whether it fits.

    limit: bytes of a rank's memory. reserve: bytes of it that the head may not use. checkpoint: bytes of the
    head and its optimizer on all ranks together. most_classes: how many classes would fit. alternatives: what
    to change, empty where the setting fits.
    """

    setting: Setting
    speed: Speed
    limit: int
    reserve: int
    memory: Memory
    checkpoint: int
    communication: Communication
    floor: Floor
    most_classes: int
    alternatives: tuple[Alternative, ...]

    @property
    def room(self) -> int:
        return self.limit - self.reserve

    @property
    def fits(self) -> bool:
        return self.memory.total <= self.room

    @property
    def waits_for_hosts(self) -> bool:
        """Whether a GPU's step of the head is shorter than the hosts' exchange that it needs."""
        on_gpu = self.floor.seconds + self.communication.seconds - self.communication.host_seconds
        return self.setting.device == "cuda" and self.communication.host_seconds > on_gpu


def plan(setting: Setting, *, memory: int, reserve: int = 0, speed: Speed | None = None) -> Plan:
    """Plan `setting` for ranks of `memory` bytes, `reserve` of them for the backbone and its activations.

    speed: how fast the machine is; None takes the assumptions of speed.py. Raises ConfigError.
    """
    check_room(memory, reserve)
    speed = speed or Speed.of(setting)
    room = memory - reserve
    return Plan(
        setting=setting,
        speed=speed,
        limit=memory,
        reserve=reserve,
        memory=memory_of(setting),
        checkpoint=stored_bytes(setting, setting.classes),
        communication=communication_of(setting, speed),
        floor=floor_of(setting, gemm_rate=speed.gemm_rate, memory_bandwidth=speed.memory_bandwidth),
        most_classes=most_classes(setting, room),
        alternatives=alternatives(setting, room),
    )
