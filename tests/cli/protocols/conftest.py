"""A run for all tests of the protocols."""

from pathlib import Path

import pytest

from tests.cli.protocols.world import trained_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("trained"))
