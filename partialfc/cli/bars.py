"""Bars on a terminal for work in stages."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from partialfc.data.parallel.progress import ShowProgress


@contextmanager
def stages() -> Iterator[ShowProgress]:
    """A callback (stage, done, total) that shows each stage as a bar, on a terminal only."""
    bars: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            for finished in bars.values():
                finished.close()
            bars[stage] = tqdm(desc=stage, total=total, dynamic_ncols=True, disable=None)
        bars[stage].update(done - bars[stage].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
