"""A plugin of pytest's, `-p tests.one_of_each`: of a test's many cases run the first and the last."""

from itertools import groupby

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = []
    for _, cases in groupby(items, key=lambda item: item.nodeid.partition("[")[0]):
        first, *others = cases
        chosen += [first, *others[-1:]]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
