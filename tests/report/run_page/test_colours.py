"""The colours of a page's lines: each two are told apart, by those who do not see all of them too."""

import re

import numpy as np
import pytest

from partialfc.report.page_style import STYLE
from partialfc.report.run_page.assets import style


# What linear RGB becomes for an eye without one kind of cones: Machado, Oliveira, Fernandes 2009, severity 1.
def matrix(numbers: str) -> np.ndarray:
    return np.array(numbers.split(), np.float64).reshape(3, 3)


EYES = {
    "all": np.eye(3),
    "protanopia": matrix(
        "0.152286 1.052583 -0.204868  0.114503 0.786281 0.099216  -0.003882 -0.048116 1.051998"
    ),
    "deuteranopia": matrix(
        "0.367322 0.860646 -0.227968  0.280085 0.672501 0.047413  -0.011820 0.042940 0.968881"
    ),
    "tritanopia": matrix(
        "1.255528 -0.076749 -0.178779  -0.078411 0.930809 0.147602  0.004733 0.691367 0.303900"
    ),
}
# Linear RGB to the cones of Oklab, and from their cube roots to its axes: Ottosson 2020.
CONES = matrix(
    "0.4122214708 0.5363325363 0.0514459929  0.2119034982 0.6806995451 0.1073969566 "
    "0.0883024619 0.2817188376 0.6299787005"
)
AXES = matrix(
    "0.2104542553 0.7936177850 -0.0040720468  1.9779984951 -2.4285922050 0.4505937099 "
    "0.0259040371 0.7827717662 -0.8086757660"
)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    return np.cbrt(np.clip(rgb, 0, 1) @ CONES.T) @ AXES.T


def named(rules: str, name: str) -> list[str]:
    """By day and at night."""
    return re.findall(rf"--{name}: (#[0-9a-f]{{6}})", rules)


@pytest.mark.parametrize("theme", [0, 1], ids=["day", "night"])
def test_eight_colours_are_told_apart_and_from_the_ground(theme):
    lines = np.array([linear(named(style(), f"c{number}")[theme]) for number in range(8)])
    assert len(named(style(), "c8")) == 0
    for eye, seeing in EYES.items():
        seen = oklab(lines @ seeing.T)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(8, 1)]
        assert apart.min() > (0.15 if eye == "all" else 0.08), eye
    ground = linear(named(STYLE, "panel")[theme]) @ LUMINANCE
    each = np.sort([lines @ LUMINANCE, np.full(8, ground)], axis=0)
    assert ((each[1] + 0.05) / (each[0] + 0.05)).min() >= 3  # as WCAG 1.4.11 asks of graphics
