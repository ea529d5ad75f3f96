"""What a run's metrics ask of whatever watches its embeddings."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy.typing as npt

CollectiveObserver = Callable[[str, int, float], None]  # its name, its bytes, its seconds


class Values(Protocol):
    """Numbers about a training step's global batch, on their way from the device."""

    def angles(self) -> npt.NDArray[Any]:
        """Degrees [N] between each embedding and its own centre, [0] without centres. Waits for them."""
        ...

    def embedding_norm(self) -> float:
        """The mean norm of the embeddings, NaN of none. Waits until it is there."""
        ...


class Watch(Protocol):
    """Counts what is trained on; `log` adds what has to be read from the device."""

    def measure(self) -> Values:
        """Ask for what `log` reports of the last step, without waiting for the device."""
        ...

    def log(self, values: Any = None) -> None:
        """Report what `measure` gave, now or earlier."""
        ...
