"""Pictures of digits for a small experiment: drawn by installed fonts, varied at random, made in seconds."""

import numpy as np
import torch
from torch import Tensor

from partialfc.data.glyphs.fonts import Face, Pen, find_fonts, load_faces, matplotlib_fonts
from partialfc.data.glyphs.pictures import paint, place, random_pose

DIGITS = "01234567"  # 6 and 9 are the same but for a turn
JITTER = 1.0


class Digits:
    """As many different pictures of 8 digits as one asks for, grey and square; a picture depends on its key.

    size: the side of a picture in pixels.
    """

    def __init__(self, *, size: int, seed: int) -> None:
        faces = [face for path in find_fonts([matplotlib_fonts()]) for face in load_faces(path)]
        able = [face for face in faces if not face.misnamed and _draws_each(face)]
        drawn = [[Pen(face).ink(face.glyphs[ord(d)], side=2 * size) for face in able] for d in DIGITS]
        self.inks = [[ink for ink in of_digit if ink is not None] for of_digit in drawn]
        self._size, self._seed = size, seed

    def batch(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Pictures first..first + count of each digit -> floats [n, 1, size, size] in -1..1, labels [n]."""
        pictures = [
            self._picture(label, number)
            for label in range(len(DIGITS))
            for number in range(first, first + count)
        ]
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        return pixels.float() / 127.5 - 1.0, torch.arange(len(DIGITS)).repeat_interleave(count)

    def _picture(self, label: int, number: int) -> np.ndarray:
        inks = self.inks[label]
        generator = np.random.default_rng((self._seed, label, number))
        coverage = place(inks[number % len(inks)], self._size, random_pose(generator, jitter=JITTER))
        return paint(coverage, generator, jitter=JITTER, channels=1)


def _draws_each(face: Face) -> bool:
    """Whether it has a glyph for each digit, and not one that stands for all that it lacks."""
    return len({face.glyphs[ord(digit)] for digit in DIGITS if ord(digit) in face.glyphs}) == len(DIGITS)
