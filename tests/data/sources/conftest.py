from pathlib import Path

import pytest

from tests.data.sources.records import write


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path / "train.rec", 13)
