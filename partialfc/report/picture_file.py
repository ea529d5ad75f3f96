"""Where pictures are written, and what is said when they cannot be."""

from pathlib import Path
from typing import Any

from partialfc.errors import ConfigError


def check_picture(option: str, output: Path | None) -> None:
    """Before any work is done: None, or a .png file in a folder that exists; else ConfigError."""
    if output is not None and (output.suffix != ".png" or not output.parent.is_dir()):
        raise ConfigError(f"{option} is {str(output)!r}; it must be a .png file in a folder that exists")


def save_picture(figure: Any, output: Path) -> Path:
    """Write a matplotlib figure to `output`, which is returned. ConfigError where it cannot be written."""
    try:
        figure.savefig(output, dpi=110)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"cannot write the picture {output}: {reason}; name a .png file in a folder that you may write"
        ) from error
    return output
