"""What a head will need, computed before it is built: its memory, and the communication and time of a step.

May import `head` and `errors`.
"""

from dataclasses import dataclass

from partialfc.errors import ConfigError
from partialfc.plan.advice import Alternative, alternatives, most_classes
from partialfc.plan.communication import Collective, Communication, communication_of
from partialfc.plan.floor import Floor, floor_of
from partialfc.plan.memory import Memory, memory_of, stored_bytes
from partialfc.plan.setting import Setting
from partialfc.plan.speed import Speed

__all__ = [
    "Alternative",
    "Collective",
    "Communication",
    "Floor",
    "Memory",
    "Plan",
    "Setting",
    "Speed",
    "floor_of",
    "memory_of",
    "plan",
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
    for name, value, least in (("memory", memory, 1), ("reserve", reserve, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number of bytes, at least {least}")
    if reserve >= memory:
        raise ConfigError(f"reserve is {reserve}; it must be less than memory, which is {memory}")
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
