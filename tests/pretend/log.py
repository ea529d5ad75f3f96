"""Every operation on the device, with its phase and the line that asked for it, and every fault."""

import functools
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
    while frame is not None:
        of_package, name = _place(frame.f_code.co_filename)
        if of_package:
            return f"{name}:{frame.f_lineno}"
        if name and outside == "?":
            outside = f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return outside


@functools.cache
def _place(file: str) -> tuple[bool, str]:
    """Whether the file is one of the package; its name there or among the tests, if it is of either."""
    package, tests = f"{PACKAGE}/", f"{PACKAGE.parent}/tests/"
    if file.startswith(package) and not file.endswith(HIDDEN):
        return True, file.removeprefix(package)
    if file.startswith(tests) and not file.startswith(f"{tests}pretend/"):
        return False, file.removeprefix(f"{PACKAGE.parent}/")
    return False, ""
