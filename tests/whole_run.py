"""How the workers of pytest-xdist share a run of all tests: what each imports first, and what it runs."""

import contextlib
import importlib
from pathlib import Path
from typing import Any

import pytest


def is_whole_run(config: pytest.Config) -> bool:
    return [Path(each).absolute() for each in config.args] == [config.rootpath / "tests"]


def import_in_another_order(config: pytest.Config) -> None:
    """In a worker of a whole run: the files of tests, beginning at another one than the other workers do.

    pytest keeps what it compiles of a file for later. Workers that all began with the first file would each
    compile every file; so each compiles its share, and finds the others'.
    """
    given: dict[str, Any] = getattr(config, "workerinput", {})
    if not given or not is_whole_run(config):
        return
    files = sorted((config.rootpath / "tests").rglob("test_*.py"))
    first = len(files) * int(given["workerid"].removeprefix("gw")) // given["workercount"]
    for file in files[first:] + files[:first]:
        # What cannot be imported is told when pytest collects it.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(file.relative_to(config.rootpath).with_suffix("").parts))


def with_slow_ones_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """For pytest-xdist, which gives each worker an equal run of the items: a share of the slow ones first.

    A slow test that began last would leave the other workers idle. Those of one file that share what a
    fixture makes for the file go to one worker, so that it is made once.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    together: dict[str, list[pytest.Item]] = {}
    for item in slow:
        together.setdefault(item.nodeid.split("::")[0] if shares(item) else item.nodeid, []).append(item)
    groups = list(together.values())
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        ordered += [item for group in groups[worker::workers] for item in group]
        missing = max(0, len(items) * (worker + 1) // workers - len(ordered))
        ordered += others[:missing]
        del others[:missing]
    return ordered + others


def shares(item: pytest.Item) -> bool:
    """Whether a fixture of the test is made once for its file."""
    assert isinstance(item, pytest.Function)
    found = item._fixtureinfo.name2fixturedefs.values()
    return any(definition.scope == "module" for definitions in found for definition in definitions)
