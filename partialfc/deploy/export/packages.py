"""The packages of the extra `export`, imported when they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager

from partialfc.errors import MissingExtraError


@contextmanager
def needing(what: str) -> Iterator[None]:
    """An ImportError of the block becomes a MissingExtraError that says what needs the package."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs a package that cannot be imported ({error}): pip install 'partialfc[export]'"
        ) from error
