"""Where the output of a command is to go, looked at before any work is done.

The rule for all of them: a file goes into a folder that exists; a folder is made where it is missing, with
those above it. Either must take files.
"""

import os
from pathlib import Path
from tempfile import TemporaryFile

from partialfc.errors import ConfigError


def require_file(option: str, output: Path | None, *, suffix: str = "") -> None:
    """ConfigError unless `output` is None, or a file to write in a folder that exists and takes files."""
    if output is None:
        return
    if (suffix and output.suffix != suffix) or output.is_dir() or not output.parent.is_dir():
        kind = f"{suffix} file" if suffix else "file"
        raise ConfigError(f"{option} is {str(output)!r}; it must be a {kind} in a folder that exists")
    _require_room(output.parent, f"{option} is {str(output)!r}, but its folder")


def require_folder(option: str, output: Path | None) -> None:
    """ConfigError unless `output` is None, or a folder that takes files, or one that can be made."""
    if output is None:
        return
    there = next(each for each in (output, *output.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        raise ConfigError(f"{option} is {str(output)!r}, but {there} is no folder; name one elsewhere")
    _require_room(there, f"{option} is {str(output)!r}, but {there}")


def _require_room(folder: Path, says: str) -> None:
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"{says} takes no file: {error.strerror}; name one elsewhere") from error
