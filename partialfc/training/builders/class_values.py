"""A number for each class, its weight in the mean loss or its margin, from the file that a config names."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from partialfc.config.margin import MarginConfig, largest_class_margin
from partialfc.errors import ConfigError
from partialfc.head.weights import shown


def read_class_weights(path: Path, num_classes: int) -> npt.NDArray[np.float64]:
    """The weight of each class in the mean loss [C].

    Raises ConfigError as `read_class_values`, and for a number that is no weight.
    """
    where, weights = f"head.class_weights: {path}", read_class_values("class_weights", path, num_classes)
    bad = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
    if len(bad):
        raise ConfigError(
            f"{where}: the weight of class {bad[0]} is {weights[bad[0]]}; it must be finite and at least 0"
        )
    tiny = np.flatnonzero((weights > 0) & (weights < np.finfo(np.float32).tiny * weights.max()))
    if len(tiny):
        raise ConfigError(
            f"{where}: the weight of class {tiny[0]} is {weights[tiny[0]]}, and the largest {weights.max()}: "
            "float32 does not hold their ratio; make them less different, or that weight 0"
        )
    return weights


def read_class_margins(path: Path, num_classes: int, *, margin: MarginConfig) -> npt.NDArray[np.float64]:
    """The margin of each class [C], in the place of that of `margin`.

    Raises ConfigError as `read_class_values`, and for a number that is no margin.
    """
    margins = read_class_values("class_margins", path, num_classes)
    below = largest_class_margin(margin)
    bad = np.flatnonzero(~((margins >= 0) & (margins < below)))
    if len(bad):
        raise ConfigError(
            f"head.class_margins: {path}: the margin of class {bad[0]} is {margins[bad[0]]}; with "
            f"margin.name: {margin.name} it must be at least 0 and below {shown(below)}"
        )
    return margins


def read_class_values(key: str, path: Path, num_classes: int) -> npt.NDArray[np.float64]:
    """A .npy file of C numbers, or a text file with a number on each line -> [C], line 1 for class 0.

    key: of the section head. Raises ConfigError where it cannot be read, or has another length.
    """
    where = f"head.{key}: {path}"
    try:
        if path.suffix == ".npy":
            numbers = np.asarray(np.load(path, allow_pickle=False))
            if numbers.dtype.kind not in "iuf":
                raise TypeError(f"its dtype is {numbers.dtype}")
            values = numbers.astype(np.float64)
        else:
            values = np.array(path.read_text().split(), np.float64)
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, EOFError) as error:
        # NumPy's own message on a pickle says how to load it unsafely.
        problem = "a pickle" if "pickle" in str(error) else (str(error).splitlines() or ["it is empty"])[0]
        raise ConfigError(
            f"{where} holds no list of numbers ({problem}); it must be a .npy file with an array [C], or a "
            "text file with a number on each line"
        ) from error
    if values.shape != (num_classes,):
        raise ConfigError(
            f"{where} has the shape {values.shape}, but there are {num_classes:,} classes; it must have one "
            "number for each"
        )
    return values
