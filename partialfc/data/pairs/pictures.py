"""The image files that a list of pairs names."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

from partialfc.data.images.codec import SUFFIXES
from partialfc.errors import PairsError

_DATA = "../Data/Images/"  # before each path of CFP's lists


class Frames(Sequence[bytes]):
    """Files that are read when they are asked for: a set of videos is larger than memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> "Frames": ...

    def __getitem__(self, index: int | slice) -> "bytes | Frames":
        return Frames(self.paths[index]) if isinstance(index, slice) else self.paths[index].read_bytes()


def read_picture(folder: Path, name: str, where: str, *, elsewhere: bool) -> bytes:
    """The bytes of an image. A pipe or a device, of which a list may name one too, might be read for ever.

    where: for messages. elsewhere: the user named the folder. Aligned copies often have another suffix than
    the list says: where there is no such file, one of another image's suffix will do.
    """
    path = folder / (name.removeprefix(_DATA) if elsewhere else name)
    try:
        path = path if path.exists() else _of_other_suffix(path)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise PairsError(f"{where}: {path} is not a file")
        return path.read_bytes()
    except OSError as error:
        hint = "" if elsewhere else "; if the images lie in another folder, name it with --images"
        raise PairsError(f"{where}: cannot read {path}: {error.strerror}{hint}") from error
    except ValueError as error:  # a name that no file can have
        raise PairsError(f"{where}: cannot read {str(path)!r}: {error}") from error


def frames_of(folder: Path, name: str, where: str) -> list[Path]:
    """The images in a video's folder, in the order of their names."""
    path = folder / name
    try:
        found = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise PairsError(
            f"{where}: cannot read the folder {path}: {error.strerror}; if the videos lie in another "
            "folder, name it with --images"
        ) from error
    if not found:
        raise PairsError(f"{where}: {path} has no image: a video needs at least one frame")
    return found


def _of_other_suffix(path: Path) -> Path:
    others = (path.with_suffix(suffix) for suffix in SUFFIXES if path.suffix)
    return next((each for each in others if each.exists()), path)
