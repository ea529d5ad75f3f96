"""A run over each kind of source, stopped and resumed, has the bits of one that was not stopped."""

from pathlib import Path

import pytest

from partialfc.errors import DataError
from tests.data.sources import kinds
from tests.data.sources.file_server import served
from tests.train_cases import small_config
from tests.training.cases import INTERRUPTED, assert_same_end, losses, run

CONTENT = kinds.images(each=16)  # two steps an epoch
BUILDS = {
    "folder": kinds.folder,
    "list": kinds.list_of_ids,
    "shards": kinds.shards,
    "parquet": kinds.parquet,
    "several": kinds.several,
    "selection": kinds.selection,
}
KEPT = {"name": INTERRUPTED["name"], "options": {"at": 10**9}}


def check_resume(folder: Path, train: object, **data: object) -> None:
    """In the run's folder `folder/whole` and `folder/stopped`; the second part with a worker process."""
    source = {"train": train, **data}
    whole, stopped = (folder / name for name in ("whole", "stopped"))
    expected = run(small_config(whole, data=source, backbone=KEPT))
    assert not run(small_config(stopped, data=source, backbone=INTERRUPTED))["finished"]
    found = run(small_config(stopped, data=source | {"workers": 1}, backbone=KEPT))
    assert found["finished"]
    assert found["step"] == 12
    assert_same_end([found], [expected])
    assert losses(stopped) == losses(whole)


@pytest.mark.parametrize("kind", BUILDS)
def test_stop_and_resume(tmp_path, kind):
    opening = BUILDS[kind](tmp_path / "set", CONTENT)
    several = isinstance(opening.path, list)
    train = [str(each) for each in opening.path] if several else str(opening.path)
    check_resume(tmp_path, train, **{name: str(value) for name, value in opening.options.items()})


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # of indices
    monkeypatch.setattr("partialfc.data.sources.byte_files.PAUSES", (0.0, 0.0))
    kinds.shards(tmp_path, CONTENT)
    kinds.text_list(tmp_path, CONTENT)
    with served(tmp_path) as found:
        yield found


REMOTE = {"shards": ["set/0/shard-000.tar", "set/1/shard-001.tar"], "list": ["list.txt"]}


@pytest.mark.parametrize("kind", REMOTE)
def test_stop_and_resume_over_http(server, tmp_path, kind):
    places = [server.url(name) for name in REMOTE[kind]]
    check_resume(tmp_path, places if len(places) > 1 else places[0])
    assert server.answered > 12 * 24


def test_a_server_that_dies_during_a_run_is_one_message(server, tmp_path):
    server.lives = 250
    config = small_config(tmp_path, data={"train": server.url("list.txt")})
    with pytest.raises(
        DataError, match=r"http://127.* cannot be read: .*, tried 3 times .line \d+ of "
    ) as error:
        run(config)
    assert len(str(error.value).splitlines()) == 1
    assert len(losses(tmp_path)) >= 3
