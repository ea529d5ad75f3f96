"""How work that takes long says how far it is."""

from collections.abc import Callable

ShowProgress = Callable[[str, int, int], None]  # the stage, how much of it is done, of how much


def no_progress(stage: str, done: int, total: int) -> None:
    """Shows nothing."""
