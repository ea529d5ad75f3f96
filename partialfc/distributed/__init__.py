"""Ranks: their process group, every collective between them, how its failure is told, and their devices.

May import `errors` alone.
"""

from partialfc.distributed.group import joined_group, process_group
from partialfc.distributed.world import World

__all__ = ["World", "joined_group", "process_group"]
