"""Every exception that partialfc raises for its users.

Each one is also the built-in error that fits it, so `except ValueError` keeps working.
"""


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


class MissingExtraError(PartialFCError, ImportError):
    """A feature needs an optional dependency; the message names the extra that installs it."""
