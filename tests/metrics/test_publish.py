"""Where a run's metrics are found: the targets file and the Pushgateway."""

import json
import logging
import logging.handlers
import queue
import shutil
from pathlib import Path

import pytest

from partialfc.distributed import World
from partialfc.metrics import Registry
from partialfc.metrics.publish import published, push, reachable
from tests.metrics.cases import fetch, samples, server, wait_for
from tests.processes import free_port


def test_targets_name_other_machines_an_address_they_can_reach(monkeypatch):
    assert reachable("127.0.0.1") == "127.0.0.1"
    assert reachable("10.1.2.3") == "10.1.2.3"
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    everywhere = reachable("0.0.0.0")
    assert not everywhere.startswith("127.")
    assert everywhere != "0.0.0.0"


def listed(folder: Path, port: int | None) -> list[list[str]]:
    """What the targets file lists while the ranks serve, and after that; rank by rank the same."""
    world, file = World.of(), folder / "targets" / "run.json"
    registry = Registry(run="mine", rank=world.rank)
    with published(registry, world, port=port, bind="127.0.0.1", targets=file, pushgateway=None):
        world.barrier()
        groups = json.loads(file.read_text())
        texts = [fetch(f"http://{target}/metrics") for target in groups[0]["targets"]]
        world.barrier()
    assert all('partialfc_steps_total{rank="' in text for text in texts)
    world.barrier()
    return [groups[0]["targets"], json.loads(file.read_text())]


def test_the_targets_file_lists_every_rank_while_the_run_goes(run_ranks, tmp_path):
    results = run_ranks(listed, 2, tmp_path, 0)
    assert results[0] == results[1]
    targets, afterwards = results[0]
    assert len(targets) == 2
    assert afterwards == []


def test_a_folder_that_is_gone_at_the_end_is_not_made_anew(tmp_path):
    folder = tmp_path / "run"
    registry = Registry(run="mine", rank=0)
    where = {"port": 0, "bind": "127.0.0.1", "targets": folder / "targets.json", "pushgateway": None}
    with published(registry, World.of(), **where):
        shutil.rmtree(folder)
    assert not folder.exists()


def test_a_rank_that_serves_nothing_is_not_listed(run_ranks, tmp_path):
    """Both ranks want the same port here, for neither has a LOCAL_RANK."""
    (targets, _), _ = run_ranks(listed, 2, tmp_path, free_port())
    assert len(targets) == 1


def warned(folder: Path, bind: str, local_world_size: int) -> list[str]:
    """What a rank of 2 warns of, where so many of them are on its node."""
    file, registry, messages = folder / "targets.json", Registry(run="mine", rank=0), queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(messages)
    handler.setLevel(logging.WARNING)
    logging.getLogger("partialfc").addHandler(handler)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WORLD_SIZE", "2")
        environment.setenv("LOCAL_WORLD_SIZE", str(local_world_size))
        with published(registry, World.of(), port=0, bind=bind, targets=file, pushgateway=None):
            pass
    logging.getLogger("partialfc").removeHandler(handler)
    return [messages.get().getMessage() for _ in range(messages.qsize())]


@pytest.mark.parametrize("bind", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_targets_of_several_hosts_on_loopback_are_one_warning(run_ranks, tmp_path, bind):
    on_rank_0, on_rank_1 = run_ranks(warned, 2, tmp_path, bind, 1)
    assert [message.split(",")[0] for message in on_rank_0] == (
        [] if bind == "0.0.0.0" else [f"metrics.bind is {bind}"]
    )
    assert on_rank_1 == []
    assert run_ranks(warned, 2, tmp_path, bind, 2) == [[], []]


def test_a_targets_file_that_cannot_be_written_is_one_warning(caplog, tmp_path):
    (tmp_path / "file").write_text("")
    targets = tmp_path / "file" / "targets.json"
    with published(
        Registry(run="mine", rank=0), World.of(), port=0, bind="127.0.0.1", targets=targets, pushgateway=None
    ):
        (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert f"metrics.targets is {targets}, which cannot be written" in warning.getMessage()


@pytest.mark.skipif(
    shutil.which("prometheus-pushgateway") is None,
    reason="no prometheus-pushgateway: apt-get install prometheus-pushgateway",
)
def test_a_pushgateway_keeps_every_ranks_last_values():
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with server("prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}"):
        wait_for(lambda: fetch(f"{url}/-/ready"))
        for rank in (0, 1):
            registry = Registry(run="mine", rank=rank)
            for step in (5, 6):
                registry.set("partialfc_step", step)
                push(registry, url)
        found = samples(fetch(f"{url}/metrics"))
    for rank in (0, 1):
        labels = ("instance=", "job=partialfc", f"rank={rank}", "run=mine")
        assert found["partialfc_step", *labels] == 6
        assert found["partialfc_steps_total", *labels] == 0


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://no such host", "http://127.0.0.1:x"])
def test_a_pushgateway_that_fails_is_one_warning(caplog, url):
    address = url.format(port=free_port())
    push(Registry(run="mine", rank=0), address)
    (record,) = caplog.records
    assert f"metrics.pushgateway is {address}, which did not take the metrics" in record.getMessage()
