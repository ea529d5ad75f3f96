"""The sizes of a backbone: checks of its arguments and its input, and how an image's side shrinks."""

from collections.abc import Sequence

from torch import Tensor

from partialfc.errors import ConfigError


class OptionError(ConfigError):
    """An argument of a backbone breaks its rule. `build_backbone` says of which one, and where to set it."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(f"{name}={value!r}: {rule}")
        self.name, self.value, self.rule = name, value, rule


def check_positive(**values: object) -> None:
    """Each value is an integer of at least 1, or an OptionError names it."""
    for name, value in values.items():
        if not _is_count(value, 1):
            raise OptionError(name, value, "must be an integer of at least 1")


def check_counts(name: str, values: object, *, least: int, length: int | None = None) -> None:
    """`values` lists `length` integers of at least `least` (None: any number), or an OptionError names it."""
    counts = values if isinstance(values, Sequence) else ()
    expected = max(1, len(counts)) if length is None else length
    if len(counts) != expected or not all(_is_count(count, least) for count in counts):
        number = "one or more" if length is None else length
        raise OptionError(name, values, f"must list {number} integers of at least {least}, one for a stage")


def check_share(**values: object) -> None:
    """Each value is a number in [0, 1), or an OptionError names it."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < 1.0:
            raise OptionError(name, value, "must lie in [0, 1)")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_images(images: Tensor, *, channels: int, image_size: int) -> None:
    """images [B, channels, image_size, image_size], or a ValueError that names both shapes."""
    if images.ndim != 4 or images.shape[1:] != (channels, image_size, image_size):
        raise ValueError(
            f"images of shape {tuple(images.shape)}: this backbone was built for"
            f" [B, {channels}, {image_size}, {image_size}] (channels={channels}, image_size={image_size})"
        )


def halved(size: int, times: int) -> int:
    """The side of an image of side `size` after `times` convolutions of stride 2, each of which rounds up."""
    step: int = 2**times
    return -(-size // step)
