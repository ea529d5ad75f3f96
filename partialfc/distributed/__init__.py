"""Ranks: their process group and every collective, what fails and what moves between them, their devices.

May import `errors` alone.
"""

from partialfc.distributed.group import joined_group, process_group
from partialfc.distributed.world import World

__all__ = ["World", "joined_group", "process_group"]
