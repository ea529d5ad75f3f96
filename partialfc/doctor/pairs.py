"""Checks of the verification sets."""

from collections.abc import Mapping
from pathlib import Path

from partialfc.data.pairs.files import FOLDS, least_pairs, read_pairs_or_videos, require_images
from partialfc.doctor.check import Check, green, red
from partialfc.errors import DataError, ImageError


def check_pairs(sets: Mapping[str, Path], *, folds: int | None, max_pixels: int) -> Check:
    """Read every set whole, and check every image, of videos the first frame of each.

    folds: None for those of a list, or 10.
    """
    name = "verification"
    if not sets:
        return green(name, "no sets, so the run will not say how good its embedding is")
    read = {}
    for key, path in sets.items():
        try:
            read[key] = read_pairs_or_videos(path)
            require_images(read[key], max_pixels=max_pixels)
        except ImageError as error:
            return red(
                name,
                f"verification.sets.{key}: {path}: {error}",
                "draw the pairs again (partialfc data pairs, which checks its images), or name another set",
            )
        except DataError as error:
            return red(
                name,
                f"verification.sets.{key}: {path}: {error}",
                "copy the file again if it was damaged on its way, else write it anew (partialfc data pairs)",
            )
        least = 0 if folds is None and read[key].folds is not None else least_pairs(folds)
        if len(read[key].same) < least:
            return red(
                name,
                f"verification.sets.{key} has {len(read[key].same)} pairs, and the {folds or FOLDS} of "
                f"verification.folds need {least}",
                "lower verification.folds, or name a larger set",
            )
    return green(name, ", ".join(f"{key}: {len(pairs.same):,} pairs" for key, pairs in read.items()))
