from pathlib import Path

import pytest

from tests.data.sources.records import write


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path / "train.rec", 13)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where indices of remote shards are kept."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder
