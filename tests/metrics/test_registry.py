"""The exporter's parts: what is exported, how it is served, listed and pushed, and how steps are timed."""

import copy
import json
import logging
import logging.handlers
import pickle
import queue
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry, generate_latest
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import partialfc
from partialfc.distributed import World
from partialfc.metrics import FAMILIES, HeadMetrics, Registry, Server
from partialfc.metrics import server as server_module
from partialfc.metrics.publish import published, push, reachable
from partialfc.metrics.run import RunMetrics
from partialfc.metrics.step_clock import StepClock
from partialfc.metrics.touched import Touched
from tests.metrics.cases import fetch, free_port, samples, server, wait_for
from tests.paths import ROOT

DOCS = ROOT / "docs" / "metrics.md"
RANK = ("rank=0", "run=mine")


def text_of(registry: Registry) -> str:
    collectors = CollectorRegistry()
    collectors.register(registry)
    return generate_latest(collectors).decode()


def sum_of(found: dict[tuple[str, ...], float], name: str) -> float:
    return sum(value for key, value in found.items() if key[0] == name)


def fill(registry: Registry) -> None:
    """A value for every gauge, as a run on a GPU with verification sets them."""
    for family in FAMILIES.values():
        if family.kind == "gauge":
            registry.set(family.name, 0.5, **dict.fromkeys(family.labels, "x"))
    registry.tally("partialfc_target_angle_degrees", torch.tensor([0.0, 90.0, 180.0]).numpy())
    about = dict.fromkeys(FAMILIES["partialfc_build_info"].labels, "x")
    registry.info("partialfc_build_info", **about)


def test_every_metric_is_exported_under_its_name_with_the_constant_labels():
    registry = Registry(run="mine", rank=3)
    fill(registry)
    found = samples(text_of(registry))
    assert {key[0] for key in found} == {name for f in FAMILIES.values() for name in f.sample_names()}
    assert all({"rank=3", "run=mine"} <= set(key) for key in found)


def test_counters_start_at_zero_and_gauges_with_their_first_value():
    found = samples(text_of(Registry(run="mine", rank=0)))
    assert found["partialfc_nonfinite_steps_total", *RANK] == 0
    assert found["partialfc_collective_calls_total", "collective=broadcast", *RANK] == 0
    assert found["partialfc_phase_seconds_count", "phase=checkpoint", *RANK] == 0
    assert not {key for key in found if FAMILIES.get(key[0]) and FAMILIES[key[0]].kind == "gauge"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus")
def test_prometheus_has_nothing_to_say_against_the_names():
    registry = Registry(run="mine", rank=0)
    fill(registry)
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text_of(registry), capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_every_metric_is_documented():
    text = DOCS.read_text()
    assert [name for name in FAMILIES if f"`{name}`" not in text] == []


def test_a_tally_counts_as_prometheus_does():
    """A value on a bound belongs to that bound's bucket."""
    registry = Registry(run="mine", rank=0)
    for values in ([4.9, 5.0, 5.1], [180.0, 181.0]):
        registry.tally("partialfc_target_angle_degrees", torch.tensor(values).double().numpy())
    found = samples(text_of(registry))
    name = "partialfc_target_angle_degrees"
    below = {le: found[f"{name}_bucket", f"le={le}", *RANK] for le in ("5.0", "10.0", "180.0", "+Inf")}
    assert below == {"5.0": 2, "10.0": 3, "180.0": 4, "+Inf": 5}
    assert found[f"{name}_sum", *RANK] == pytest.approx(376.0)


def test_a_registry_stands_beside_metrics_of_the_users_own():
    around = CollectorRegistry()
    around.register(Registry(run="mine", rank=0))
    with pytest.raises(ValueError, match="Duplicated"):
        around.register(Registry(run="other", rank=0))


# Totals


def totals_of(rank: int, images: float, steps: float) -> dict[str, dict[str, float]]:
    registry = Registry(run="mine", rank=rank)
    registry.add("partialfc_images_total", images)
    registry.add("partialfc_steps_total", steps)
    registry.add("partialfc_collective_bytes_total", 10 * images, collective="all_gather")
    return json.loads(json.dumps(registry.totals()))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_totals_go_on_at_any_world_size(world_size):
    """Sums over the ranks go on as sums; what every rank counts alike goes on on every rank."""
    saved = [totals_of(rank, images, 7) for rank, images in enumerate((100.0, 20.0, 3.0))]
    found = {}
    for rank in range(world_size):
        head = partialfc.PartialFC(4, 8, margin=partialfc.ArcFace())
        world = World(None, rank, world_size)
        metrics = RunMetrics(run="mine", world=world, head=head, device=torch.device("cpu"))
        metrics.restore(saved, checkpoint_time=1.5)
        found |= samples(text_of(metrics.registry))
    assert sum_of(found, "partialfc_images_total") == 123
    assert sum_of(found, "partialfc_collective_bytes_total") == 1230
    assert sum_of(found, "partialfc_steps_total") == 7 * world_size
    assert found["partialfc_checkpoint_timestamp_seconds", *RANK] == 1.5


def test_totals_of_a_counter_that_is_no_more_are_left_out():
    registry = Registry(run="mine", rank=0)
    registry.restore({"partialfc_gone_total": {"": 3.0}, "partialfc_steps_total": {"": 2.0}})
    assert samples(text_of(registry))["partialfc_steps_total", *RANK] == 2


# The server


def test_two_registries_are_served_on_free_ports():
    with (
        Server(Registry(run="mine", rank=0), port=0) as first,
        Server(Registry(run="mine", rank=1), port=0) as second,
    ):
        assert first.port != second.port
        for rank, each in enumerate((first, second)):
            text = fetch(f"http://127.0.0.1:{each.port}/metrics")
            assert f'partialfc_steps_total{{rank="{rank}",run="mine"}} 0.0' in text
    assert first.port is None


def test_a_taken_port_is_one_warning_that_says_what_to_do(caplog):
    registry = Registry(run="mine", rank=0)
    with Server(registry, port=0) as first, Server(registry, port=first.port or 0) as second:
        assert second.port is None
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage() == (
            f"metrics.port {first.port}: this rank serves no metrics, for 127.0.0.1:{first.port} cannot be "
            "listened on (Address already in use). Training goes on; "
            "choose another metrics.port (0 takes any free one) or metrics.bind"
        )


@pytest.mark.parametrize("bind", ["203.0.113.1", "no such host", "a..b"])
def test_an_address_of_another_machine_is_one_warning(caplog, bind):
    with Server(Registry(run="mine", rank=0), port=0, bind=bind) as refused:
        assert refused.port is None
    (record,) = caplog.records
    assert bind in record.getMessage()
    assert "metrics.bind" in record.getMessage()


def test_an_ipv6_address_is_served():
    with Server(Registry(run="mine", rank=0), port=0, bind="::1") as served:
        if served.port is None:
            pytest.skip("no IPv6 on this machine")
        assert "partialfc_steps_total" in fetch(f"http://[::1]:{served.port}/metrics")


def test_a_scraper_that_hangs_holds_nobody_up_and_is_dropped(monkeypatch):
    monkeypatch.setattr(server_module._Handler, "timeout", 1.0)
    with Server(Registry(run="mine", rank=0), port=0) as served:
        hanging = [socket.create_connection(("127.0.0.1", served.port or 0)) for _ in range(20)]
        for connection in hanging:
            connection.sendall(b"GET /metr")
        assert "partialfc_steps_total" in fetch(f"http://127.0.0.1:{served.port}/metrics")
        for connection in hanging:
            connection.settimeout(30)
            assert connection.recv(1) == b""  # the server has closed it
            connection.close()


def test_a_scraper_that_hangs_up_leaves_no_traceback(capfd):
    with Server(Registry(run="mine", rank=0), port=0) as served:
        for _ in range(5):
            connection = socket.create_connection(("127.0.0.1", served.port or 0))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # end by a reset
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            connection.close()
        assert "partialfc_steps_total" in fetch(f"http://127.0.0.1:{served.port}/metrics")
    assert capfd.readouterr().err == ""


# Where they are found


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


# What the head tells


def test_a_loop_of_ones_own_counts_what_the_head_samples():
    registry = Registry(run="mine", rank=0)
    head = partialfc.PartialFC(4, 50, margin=partialfc.ArcFace(), sample_rate=0.2)
    watched = HeadMetrics(registry, head)
    for _ in range(3):
        head(torch.ones(4, 4), torch.tensor([7, 7, 9, -1]))
    head(torch.ones(2, 4), labels=torch.tensor([1, 2]))
    head.eval()
    head(torch.ones(3, 4), torch.tensor([3, 4, 5]))  # does not count
    head.train()
    head(torch.ones(1, 4), torch.tensor([7]))
    watched.log()
    found = samples(text_of(registry))
    assert found["partialfc_images_total", *RANK] == 3 * 4 + 2 + 1
    assert found["partialfc_sampled_positives_total", *RANK] == 3 * 2 + 2 + 1
    assert found["partialfc_sampled_negatives_total", *RANK] == 3 * 8 + 8 + 9
    assert found["partialfc_target_angle_degrees_count", *RANK] == 1
    assert found["partialfc_embedding_norm", *RANK] == pytest.approx(2.0)
    assert 10 / 50 <= found["partialfc_centres_touched_ratio", *RANK] <= 50 / 50


def test_a_watched_head_is_copied_and_pickled_without_its_watcher():
    registry = Registry(run="mine", rank=0)
    head = partialfc.PartialFC(4, 50, margin=partialfc.ArcFace())
    HeadMetrics(registry, head)
    for each in (copy.deepcopy(head), pickle.loads(pickle.dumps(head)), head):
        each(torch.ones(4, 4), torch.tensor([7, 7, 9, -1]))
    assert samples(text_of(registry))["partialfc_images_total", *RANK] == 4


def test_a_batch_of_ignored_samples_has_no_embedding_norm():
    registry = Registry(run="mine", rank=0)
    head = partialfc.PartialFC(4, 50, margin=partialfc.ArcFace())
    watched = HeadMetrics(registry, head)
    head(torch.ones(4, 4), torch.tensor([-1] * 4))
    watched.log()
    assert sum_of(samples(text_of(registry)), "partialfc_embedding_norm") == 0
    head(torch.ones(4, 4), torch.tensor([1] * 4))
    watched.log()
    head(torch.ones(4, 4), torch.tensor([-1] * 4))
    watched.log()
    assert samples(text_of(registry))["partialfc_embedding_norm", *RANK] == pytest.approx(2.0)


def test_touched_rows_are_those_of_the_last_steps():
    touched = Touched(10, window=3)
    assert touched.ratio(0) == 0.0
    shares = []
    for step, some in enumerate([[0, 1], [1, 2], [1, 9], [3]], start=1):
        touched.add(step, torch.tensor(some).numpy())
        shares.append(touched.ratio(step))
    assert shares == [0.2, 0.3, 0.4, 0.4]  # row 0 of step 1 is forgotten in step 4
    touched.add(5, None)
    assert touched.ratio(7) == 1.0
    assert touched.ratio(8) == 0.0
    assert Touched(0, window=3).ratio(1) == 1.0  # a rank without classes misses none


# Time


class Times:
    def __init__(self) -> None:
        self.phases: list[tuple[str, float]] = []
        self.steps: list[tuple[float, float]] = []

    def phase_took(self, phase: str, seconds: float) -> None:
        self.phases.append((phase, seconds))

    def step_took(self, seconds: float, waited: float) -> None:
        self.steps.append((seconds, waited))


def test_a_phases_parts_in_a_step_are_one_time_and_what_raises_is_none():
    times = Times()
    clock = StepClock(torch.device("cpu"), times)
    with clock.step():
        for _ in range(2):
            with clock.phase("data_wait"):
                pass
            with clock.phase("backbone"):
                pass
    with clock.phase("checkpoint"):
        pass
    with pytest.raises(KeyError), clock.step(), clock.phase("backbone"):
        raise KeyError
    with clock.phase("verification"):
        pass
    assert [name for name, _ in times.phases] == ["data_wait", "backbone", "checkpoint", "verification"]
    ((seconds, waited),) = times.steps
    assert 0 < sum(took for _, took in times.phases[:2]) < seconds
    assert waited == 0


SLOW_SECONDS = 0.1
STEPS = 5


class Slow(nn.Module):
    """Rank 1 takes its time in every forward and backward pass."""

    def __init__(self, *, in_model: bool) -> None:
        super().__init__()
        self.in_model = in_model
        self.layer = nn.Linear(4, 4)
        self.register_buffer("statistics", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.in_model:
            return self.layer(x)
        loiter()
        x = self.layer(x)
        x.register_hook(lambda _: loiter())
        return x


def loiter() -> None:
    if torch.distributed.get_rank() == 1:
        threading.Event().wait(SLOW_SECONDS)


def slow_input() -> torch.Tensor:
    loiter()
    return torch.ones(2, 4)


def own_times(slow: str) -> tuple[dict[tuple[str, ...], float], float]:
    """A loop in DistributedDataParallel, rank 1 slow in its "model" or "input": metrics, own step time."""
    world = World.of()
    head = partialfc.PartialFC(4, 8, margin=partialfc.ArcFace())
    metrics = RunMetrics(run="mine", world=world, head=head, device=torch.device("cpu"))
    backbone = DistributedDataParallel(Slow(in_model=slow == "model"))
    optimizer = partialfc.RowSGD(head, lr=0.1)
    with metrics.running(0, STEPS, backbone):
        for step in range(1, STEPS + 1):
            with metrics.clock.step():
                with metrics.clock.phase("backbone"):
                    embedded = backbone(slow_input() if slow == "input" else torch.ones(2, 4))
                with metrics.clock.phase("head_forward"):
                    loss = head(embedded, torch.tensor([1, 2]))
                with metrics.clock.phase("backward"):
                    loss.backward()
                optimizer.step()
                own = world.gather_integers([metrics.own_microseconds])[:, 0]
                metrics.stepped(step, finite=True, own_microseconds=own, queued=0, bad_records=0)
    return samples(text_of(metrics.registry)), metrics.own_microseconds


@pytest.mark.parametrize(
    ("own", "ratio"),
    [([100], 1.0), ([300, 100], 3.0), ([100, 100, 300], 3.0), ([100, 150, 200, 300], 2.0)],
)
def test_stragglers_are_measured_by_the_median_rank_of_an_even_number_the_faster(own, ratio):
    head = partialfc.PartialFC(4, 8, margin=partialfc.ArcFace())
    metrics = RunMetrics(run="mine", world=World(None, 0, 1), head=head, device=torch.device("cpu"))
    metrics.stepped(1, finite=True, own_microseconds=np.array(own), queued=0, bad_records=0)
    assert samples(text_of(metrics.registry))["partialfc_straggler_ratio", *RANK] == ratio


@pytest.mark.parametrize(("slow", "times_a_step"), [("model", 2), ("input", 1)])
def test_the_slow_rank_is_told_from_those_that_wait_for_it(run_ranks, slow, times_a_step):
    """Both ranks' steps take the same time, for they wait for each other."""
    (first, own_first), (second, own_second) = run_ranks(own_times, 2, slow)
    assert own_second > max(own_first, 1e6 * times_a_step * SLOW_SECONDS)
    ratio = first["partialfc_straggler_ratio", *RANK]
    assert ratio > 1.1
    assert second["partialfc_straggler_ratio", "rank=1", "run=mine"] == ratio
    waited = ("partialfc_collective_seconds_sum", "collective=all_reduce", *RANK)
    assert first[waited] > STEPS * SLOW_SECONDS / 2


def test_gradients_of_the_backbone_count_as_an_all_reduce_a_step(run_ranks):
    found, _ = run_ranks(own_times, 2, "model")[0]
    gradients = STEPS * (4 * 4 + 4) * 4
    cosines_and_sums = STEPS * 2 * (4 * 4)
    assert (
        found["partialfc_collective_bytes_total", "collective=all_reduce", *RANK]
        == gradients + cosines_and_sums
    )
    assert found["partialfc_collective_calls_total", "collective=all_reduce", *RANK] == STEPS * (1 + 2)
    assert found["partialfc_collective_seconds_count", "collective=all_reduce", *RANK] == STEPS * (1 + 2)


@pytest.mark.gpu
def test_a_gpus_time_is_read_later_and_without_waiting():
    device, times = torch.device("cuda", 0), Times()
    clock = StepClock(device, times)
    x = torch.randn(4096, 4096, device=device)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            with clock.step(), clock.phase("backbone"):
                for _ in range(20):
                    x = torch.mm(x, x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(times.steps) < 3  # the device is still at it
    clock.settle()
    assert len(times.steps) == 3
    assert min(took for _, took in times.phases) > 0
