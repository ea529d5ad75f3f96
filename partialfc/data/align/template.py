"""Where the five landmarks lie in an aligned crop.

In their order: the eye at the left of the picture, the one at its right, the tip of the nose, the corner of
the mouth at the left, the one at the right.
"""

import re

import numpy as np
import numpy.typing as npt

from partialfc.errors import ConfigError

Points = npt.NDArray[
    np.float64
]  # [5, 2] or [n, 2]: x to the right, y downwards, pixels; 0 is a pixel's centre

# SphereFace's, for crops of 96 x 112 (Liu et al. 2017); ArcFace's for 112 x 112 are 8 pixels further right.
_NARROW: Points = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
)
_WIDTH, _HEIGHT = 96, 112
_SIZE = re.compile(r"(\d{1,5})(?:x(\d{1,5}))?", re.ASCII)
LANDMARKS = len(_NARROW)


def template(width: int, height: int) -> Points:
    """Landmarks [5, 2] in a crop of this size, in pixels.

    112 x 112: ArcFace's. 96 x 112: the older one, without 8 pixels at the left and at the right. Other sizes:
    that one as large as it fits, in the middle; so for a square of n pixels ArcFace's times n / 112.
    """
    scale = min(width / _WIDTH, height / _HEIGHT)
    corner = np.array([width - scale * _WIDTH, height - scale * _HEIGHT]) / 2
    return scale * _NARROW + corner


def read_size(text: str) -> tuple[int, int]:
    """(width, height) of "112" or "96x112"; ConfigError for other text."""
    match = _SIZE.fullmatch(text)
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if min(width, height) < 16:
        raise ConfigError(
            f"--size is {text!r}; it must be a number such as 112, or WIDTHxHEIGHT, of 16 pixels at least"
        )
    return width, height
