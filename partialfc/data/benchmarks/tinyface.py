"""TinyFace's identification: probes, their mates in the gallery, and distractors."""

from pathlib import Path, PurePosixPath

from partialfc.data.benchmarks.image_set import ImageSet, files_below, of_files
from partialfc.errors import DataError

PARTS = ("Probe", "Gallery_Match", "Gallery_Distractor")


def tinyface_folder(folder: Path) -> Path | None:
    """The folder with TinyFace's three parts, this one or its `Testing_Set`; None where there is none."""
    for each in (folder, folder / "Testing_Set"):
        if all((each / part).is_dir() for part in PARTS):
            return each
    return None


def read_tinyface(folder: Path) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Probes, mates and distractors, all in the gallery but the first.

    The identity is what stands before the first _ of a file's name, as in `Probe/123_4.jpg`. Cheng et al.
    2018, "Low-Resolution Face Recognition". Raises DataError for a name without it.
    """
    probes, mates, distractors = (_read(folder / part) for part in PARTS)
    return probes, mates, distractors.strangers()


def _read(folder: Path) -> ImageSet:
    files = files_below(folder)
    identities = []
    for file in files:
        identity, line, _ = PurePosixPath(file).name.partition("_")
        if not line and folder.name != PARTS[2]:
            raise DataError(f"{folder / file}: its name must be the identity, _ and more, such as 123_4.jpg")
        identities.append(identity)
    return of_files(folder, files, identities)
