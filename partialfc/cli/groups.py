"""Options that several commands have: the fields of a dataclass, which a command takes as one value."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partialfc.cli.arguments import BackboneName, ClassDepth, Device, LeaveOut, ListRoot, Only, Trust

if TYPE_CHECKING:
    from partialfc.deploy.trained import Trained


@dataclass(frozen=True)
class Selection:
    """Which images of a source, by the keywords of `open_source` and `open_images`."""

    class_depth: ClassDepth = 1
    root: ListRoot = None
    only: Only = None
    leave_out: LeaveOut = None


@dataclass(frozen=True)
class Network:
    """How a trained network is opened, and where it is to run."""

    device: Device = "auto"
    backbone: BackboneName = None
    trust: Trust = None

    def load(self, path: Path) -> "Trained":
        """The network of a run, an export or a file of weights."""
        from partialfc.deploy.trained import load_trained

        return load_trained(path, trust=self.trust or (), backbone=self.backbone)


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer: where it takes a dataclass, the command line takes the fields, in that place."""
    own = inspect.signature(command).parameters.values()
    options = [option for each in own for option in _options(each)]

    @wraps(command)
    def called(**given: Any) -> None:
        for each in own:
            if is_dataclass(group := each.annotation):
                assert isinstance(group, type)
                given[each.name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    called.__dict__["__signature__"] = inspect.Signature(options)
    called.__annotations__ = {each.name: each.annotation for each in options}
    return called


def _options(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY  # of which one with a default may stand before one without
    if not is_dataclass(parameter.annotation):
        yield parameter.replace(kind=kind)
        return
    for each in fields(parameter.annotation):
        yield inspect.Parameter(each.name, kind, default=each.default, annotation=each.type)
