"""What partialfc says when it fails: every exception that it raises for its users, and how one is shown.

Each one is also the built-in error that fits it, so `except ValueError` keeps working.
"""

import json
import os
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path


class PartialFCError(Exception):
    """The root of the tree: catches whatever partialfc raises on purpose."""


class ConfigError(PartialFCError, ValueError):
    """A configuration value breaks its rule; the message names the key, the value and the rule."""


class LabelError(PartialFCError, ValueError):
    """A label lies outside 0..num_classes-1."""


class DataError(PartialFCError, ValueError):
    """Input data cannot be used; the message names the file and the place in it."""


class RecordError(DataError):
    """A RecordIO file is damaged; the message names file, record and offset."""


class RecordIndexError(DataError):
    """A `.idx` does not fit its `.rec`; where it is deleted, the `.rec` is scanned instead."""


class ImageError(DataError):
    """An image cannot be decoded."""


class PairsError(DataError):
    """A verification pair file cannot be used."""


class CheckpointError(PartialFCError, RuntimeError):
    """A checkpoint is damaged, missing, cannot be written, or does not fit the run."""


class NonFiniteError(PartialFCError, RuntimeError):
    """Training met too many non-finite steps in a row; the message says what was non-finite first."""


class DistributedError(PartialFCError, RuntimeError):
    """Ranks disagree, or one of them stopped answering; the message names the rank."""


class ExportError(PartialFCError, RuntimeError):
    """A network cannot be exported, or the file would give something else than it; nothing is left."""


class TrackerError(PartialFCError, RuntimeError):
    """A tracker cannot hold the run; the message names it and says what to do."""


class MissingExtraError(PartialFCError, ImportError):
    """A feature needs an optional dependency; the message names the extra that installs it."""


def installing(*extras: str) -> str:
    """The command that installs extras, for a message; where there is no torch, one that brings none."""
    if find_spec("torch") is None:
        return (
            f"python -m partialfc.serving.requirements {' '.join(extras)} > needed.txt && "
            "pip install -r needed.txt"
        )
    return f"pip install 'partialfc[{','.join(extras)}]'"


def in_one_line(error: Exception) -> str:
    """What an error of another package says, which may be many lines: the beginning of it, for a message."""
    return " ".join(str(error).split())[:300]


def printable(text: str, *, but: str = "") -> str:
    """Text from files, such as their names, as a terminal may get it.

    Without characters that would steer it, except those of `but`.
    """
    return "".join(
        each if each.isprintable() or each in but else "\N{REPLACEMENT CHARACTER}" for each in text
    )


def tell(what: str) -> None:
    """Show an error on stderr, and where torchrun started this process, in what it shows last of it.

    what: the error's name and its message; under torchrun the rank stands before it.
    """
    rank = os.environ.get("RANK")
    what = printable(what, but="\n\t")
    line = f"partialfc: {what}" if rank is None else f"[rank {rank}] partialfc: {what}"
    print(line, file=sys.stderr, flush=True)
    if shown_by_torchrun := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        message = {"message": line, "extraInfo": {"py_callstack": line, "timestamp": str(int(time.time()))}}
        with suppress(OSError):
            # torchrun reads it at any moment, and ends this process in the middle of anything
            beside = Path(f"{shown_by_torchrun}.part")
            beside.write_text(json.dumps({"message": message}))
            beside.replace(shown_by_torchrun)
