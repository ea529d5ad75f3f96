"""The kinds of what a check may find; it imports nothing, since --help waits for it."""

from enum import StrEnum


class Kind(StrEnum):
    """What may be wrong with images. The last four are of several images together."""

    BROKEN = "broken"
    LABEL = "label"
    SIZE = "size"
    BLANK = "blank"
    TURNED = "turned"
    TRANSPARENT = "transparent"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    NEAR_DUPLICATE = "near-duplicate"
    NEAR_CONFLICT = "near-conflict"
