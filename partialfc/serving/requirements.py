"""`python -m partialfc.serving.requirements EXTRA...`: what pip installs for these extras, but for torch.

Read from the installed package, so that its own versions count. It needs nothing but Python itself.
"""

import re
import sys
from collections.abc import Collection, Iterable
from importlib.metadata import metadata, requires

from partialfc.errors import ConfigError

LEFT_OUT = "torch"
_NAME = re.compile(r"[\w.-]+")
_EXTRA = re.compile(r"""\s*(?:and\s+)?extra\s*==\s*["']([\w.-]+)["']""")


def requirements(extras: Iterable[str]) -> list[str]:
    """The requirements of the package and of some of its extras, as pip takes them, but for torch.

    Raises ConfigError for an extra that there is not.
    """
    wanted = set(extras)
    known = set(metadata("partialfc").get_all("Provides-Extra") or ())
    if unknown := wanted - known:
        raise ConfigError(f"{min(unknown)} is no extra of partialfc; these are: {', '.join(sorted(known))}")
    return chosen(requires("partialfc") or (), wanted)


def chosen(lines: Iterable[str], extras: Collection[str]) -> list[str]:
    """Those of a package's metadata that hold for these extras, without `extra == ...`, and without torch."""
    found = []
    for line in lines:
        extra = _EXTRA.search(line)
        name = _NAME.match(line)
        if name is not None and name[0] != LEFT_OUT and (extra is None or extra[1] in extras):
            found.append(_EXTRA.sub("", line).rstrip("; "))
    return found


if __name__ == "__main__":
    try:
        print("\n".join(requirements(sys.argv[1:])))
    except ConfigError as error:
        sys.exit(f"partialfc: ConfigError: {error}")
