"""Arguments and results of operations: tuples, lists and dictionaries within each other, and their leaves.

Beside a small operation, torch.utils._pytree would take most of the time.
"""

from collections.abc import Callable
from typing import Any


def tree_leaves(tree: Any) -> list[Any]:
    found: list[Any] = []
    _collect(tree, found)
    return found


def _collect(tree: Any, found: list[Any]) -> None:
    if isinstance(tree, tuple | list):
        for each in tree:
            _collect(each, found)
    elif isinstance(tree, dict):
        for each in tree.values():
            _collect(each, found)
    else:
        found.append(tree)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same with `function` of each leaf in its place."""
    if isinstance(tree, tuple | list):
        mapped = [tree_map(function, each) for each in tree]
        if hasattr(tree, "_fields"):  # of a named tuple
            return type(tree)(*mapped)
        return mapped if type(tree) is list else type(tree)(mapped)
    if isinstance(tree, dict):
        return {name: tree_map(function, each) for name, each in tree.items()}
    return function(tree)
