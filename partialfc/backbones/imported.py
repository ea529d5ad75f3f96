"""A callable by its import path "module:callable", and whose word is enough to import it."""

import importlib
from collections.abc import Callable, Collection
from functools import partial
from types import ModuleType
from typing import Any, cast

from partialfc.errors import ConfigError


def import_callable(name: str, trust: Collection[str] | None) -> Callable[..., Any]:
    """What `"module:callable"` names. The module is imported, which runs it.

    trust: the modules that may be imported, for a name that comes from a file; None: any, for a name that is
    the user's own. A trusted module gives what it or its package defines, and nothing that it only imports:
    otherwise each module with a line `import torch` would give torch.hub.load.

    Raises ConfigError where that is not allowed, or there is no such callable.
    """
    module_name, _, attribute = name.partition(":")
    if trust is not None and module_name not in trust:
        raise _not_trusted(name, module_name)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs the module, which may raise anything
        raise ConfigError(
            f"backbone {name!r}: cannot import module {module_name!r} ({type(error).__name__}: {error});"
            " is its folder on PYTHONPATH?"
        ) from error
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise ConfigError(f"backbone {name!r}: module {module_name!r} has no {attribute!r}") from error
        if trust is not None and isinstance(found, ModuleType):
            raise _not_trusted(name, found.__name__)
    if not callable(found):
        kind = type(found).__name__
        raise ConfigError(
            f"backbone {name!r}: {attribute!r} of {module_name!r} has type {kind} and cannot be called"
        )
    home = _home(found)
    if trust is not None and not any(f"{home}.".startswith(f"{trusted}.") for trusted in trust):
        raise _not_trusted(name, home)
    return cast(Callable[..., Any], found)


def _not_trusted(name: str, module: str) -> ConfigError:
    return ConfigError(
        f"backbone {name!r} is code of the module {module!r}, and nothing that a checkpoint names is "
        "imported or called unless you allow it: if you know this module and where it came from, add "
        f"--trust {module} to the command, or trust=[{module!r}] to load_trained; SECURITY.md says more"
    )


def _home(found: Callable[..., Any]) -> str:
    """The module that defines a callable; of functools.partial, the one of what it calls."""
    while isinstance(found, partial):
        found = found.func
    return str(getattr(found, "__module__", None) or "builtins")
