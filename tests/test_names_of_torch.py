"""Every name of torch that the package and its benchmarks use is one of the torch at hand.

Read from the files, and nothing is run, so lines for a GPU alone count too. A run of the suite on the oldest
torch that is supported shows by this what that one does not have.
"""

import ast
import importlib
import warnings
from pathlib import Path
from types import ModuleType

from tests.paths import PACKAGE, ROOT

ASKS_FIRST = {PACKAGE / "distributed" / "torch_names.py", ROOT / "benchmarks" / "fused.py"}
FILES = {*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")} - ASKS_FIRST


def used(path: Path) -> set[str]:
    """The names that a file imports from torch, and those with dots after them: torch.Size.numel."""
    tree = ast.parse(path.read_text())
    imported: dict[str, str] = {}  # by the file's own name for it
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                first = each.name.split(".")[0]
                imported[each.asname or first] = each.name if each.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    found = set(imported.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, *others = ast.unparse(node).split(".")
            if first in imported and all(map(str.isidentifier, others)):
                found.add(".".join([imported[first], *others]))
    return {name for name in found if name.split(".")[0] == "torch"}


def find(name: str) -> None:
    """Raises AttributeError or ImportError where no module or class has such a name."""
    whole, *parts = name.split(".")
    found: object = importlib.import_module(whole)
    for part in parts:
        whole = f"{whole}.{part}"
        if isinstance(found, type) or hasattr(found, part):
            found = getattr(found, part)
        elif isinstance(found, ModuleType):
            found = importlib.import_module(whole)


def test_every_name_is_there_and_is_not_deprecated():
    users: dict[str, set[Path]] = {}
    for path in FILES:
        for name in used(path):
            users.setdefault(name, set()).add(path)
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in sorted(users):
            try:
                find(name)
            except (AttributeError, ImportError, Warning) as error:
                files = sorted(str(path.relative_to(ROOT)) for path in users[name])
                wrong.append(f"{name}, in {', '.join(files)}: {error}")
    assert not wrong, "\n".join(wrong)
