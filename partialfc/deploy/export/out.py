"""Where an export goes, and in which format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from partialfc.deploy.opened.folder import is_export
from partialfc.errors import ConfigError
from partialfc.files import require_file, require_folder

Format = Literal["onnx", "safetensors", "torch", "huggingface"]
SUFFIXES: Mapping[str, Format] = {".onnx": "onnx", ".safetensors": "safetensors", ".pt2": "torch"}


def format_of(out: Path, asked: Format | None) -> Format:
    """What was asked for, or what the name says. ConfigError where it says nothing, or something else."""
    said = SUFFIXES.get(out.suffix)
    if asked is not None:
        if said not in (None, asked):
            raise ConfigError(
                f"OUT is {str(out)!r}, a name for the format {said}, and --format is {asked}: leave it "
                "out, or take another name"
            )
        return asked
    if said is not None:
        return said
    if not out.suffix:
        return "huggingface"
    raise ConfigError(
        f"OUT is {str(out)!r}; its suffix must be one of {', '.join(SUFFIXES)}, or none for a folder; or say "
        "--format"
    )


def check_out(out: Path, format: Format) -> None:
    """ConfigError where an export in this format cannot be written, or something else is in the way."""
    if format != "huggingface":
        if out.is_dir():
            raise ConfigError(f"OUT is {str(out)!r}, a folder; for the format {format} it must be a file")
        return require_file("OUT", out)
    if out.is_file() or (out.is_dir() and not is_export(out) and any(out.iterdir())):
        raise ConfigError(
            f"OUT is {str(out)!r}, where something else lies already; name a folder that is not there "
            "yet, or an export, which is replaced"
        )
    return require_folder("OUT", out)
