"""The classes' weights in the mean loss, from the file that a config names."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from partialfc.errors import ConfigError


def read_class_weights(path: Path, num_classes: int) -> npt.NDArray[np.float64]:
    """A .npy file of C numbers, or a text file with a number on each line -> [C], line 1 for class 0.

    Raises ConfigError where it cannot be read, has another length, or a number that is no weight.
    """
    where = f"head.class_weights: {path}"
    try:
        if path.suffix == ".npy":
            numbers = np.asarray(np.load(path, allow_pickle=False))
            if numbers.dtype.kind not in "iuf":
                raise TypeError(f"its dtype is {numbers.dtype}")
            weights = numbers.astype(np.float64)
        else:
            weights = np.array(path.read_text().split(), np.float64)
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, EOFError) as error:
        # NumPy's own message on a pickle says how to load it unsafely.
        problem = "a pickle" if "pickle" in str(error) else (str(error).splitlines() or ["it is empty"])[0]
        raise ConfigError(
            f"{where} holds no list of numbers ({problem}); it must be a .npy file with an array [C], or a "
            "text file with a number on each line"
        ) from error
    if weights.shape != (num_classes,):
        raise ConfigError(
            f"{where} has the shape {weights.shape}, but there are {num_classes:,} classes; it must have one "
            "number for each"
        )
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
