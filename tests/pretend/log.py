"""Every operation on the device, with its phase and the line that asked for it, and every fault."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.paths import PACKAGE

# Called for other lines, which are above them.
HIDDEN = ("head/kernels/compiled.py", "head/kernels/in_place.py", "distributed/accelerator.py")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: launches of kernels, bytes that they touch and that pass the cache, multiplications."""

    name: str
    phase: str
    site: str
    launches: int
    touched: int
    moved: int
    flops: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What a GPU would not do well: it waits, blocks, mixes devices, or races."""

    kind: str
    what: str
    phase: str
    site: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} at {self.site} ({self.phase})"


@dataclass(slots=True)
class Log:
    """What happened since the last `clear`."""

    operations: list[Operation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    current: str = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What happens inside belongs to this phase, whatever thread does it."""
        before, self.current = self.current, name
        try:
            yield
        finally:
            self.current = before

    def fault(self, kind: str, what: str) -> None:
        self.faults.append(Fault(kind, what, self.current, site()))

    def clear(self) -> None:
        self.operations.clear()
        self.faults.clear()

    def total(self, name: str, phase: str | None = None) -> int:
        """The sum of a field of the operations, of one phase or of all."""
        return sum(getattr(each, name) for each in self.operations if phase in (None, each.phase))


def site() -> str:
    """The innermost line of the package that is running, else of the tests, as `file:line`."""
    frame = sys._getframe(1)
    outside = "?"
    package, here = f"{PACKAGE}/", f"{PACKAGE.parent}/tests/pretend/"
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(package) and not name.endswith(HIDDEN):
            return f"{name.removeprefix(package)}:{frame.f_lineno}"
        if outside == "?" and name.startswith(f"{PACKAGE.parent}/tests/") and not name.startswith(here):
            outside = f"{name.removeprefix(f'{PACKAGE.parent}/')}:{frame.f_lineno}"
        frame = frame.f_back
    return outside
