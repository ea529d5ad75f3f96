"""Keys of which only one may be given, such as a length in steps or in epochs.

An override of one of them stands for the file's other one, which goes.
"""

from typing import Any

_EVERY = (("every_steps", "every_epochs"),)
EXCLUSIVE: dict[tuple[str, ...], tuple[tuple[str, ...], ...]] = {  # by section; of a list of them by its name
    ("train",): (("steps", "epochs"),),
    ("schedule",): (
        ("warmup_steps", "warmup_epochs", "warmup_ratio"),
        ("milestone_steps", "milestone_epochs"),
    ),
    ("stages",): (("from_step", "from_epoch"), ("until_step", "until_epoch")),
    ("checkpoint",): _EVERY,
    ("verification",): _EVERY,
}


def others_of(path: tuple[str, ...], value: Any) -> list[tuple[str, ...]]:
    """The paths of the keys that may not be given beside this one with this value; none where it is null."""
    *section, key = path
    if value is None:
        return []
    groups = EXCLUSIVE.get(tuple(part for part in section if not part.isdecimal()), ())
    return [(*section, other) for group in groups if key in group for other in group if other != key]
