"""How much of a rank's memory what is planned may use."""

from partialfc.errors import ConfigError


def check_room(memory: int, reserve: int) -> None:
    """ConfigError where `reserve` bytes of `memory` leave nothing, or either is no number of bytes."""
    for name, value, least in (("memory", memory, 1), ("reserve", reserve, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number of bytes, at least {least}")
    if reserve >= memory:
        raise ConfigError(f"reserve is {reserve}; it must be less than memory, which is {memory}")
