"""Planned communication against what ranks exchange, and by hand."""

from dataclasses import replace

import pytest
import torch

import partialfc
from partialfc.plan import Setting, Speed, plan
from tests.plan.cases import FACES, GB


def traffic_of_a_step() -> tuple[dict[str, int], dict[str, int]]:
    head = partialfc.PartialFC(64, 1000, margin=partialfc.ArcFace(), sample_rate=0.3)
    optimizer = partialfc.RowSGD(head, lr=0.1)
    for _ in range(2):  # in the first, no rank knows yet how many labels the others have
        head.world.traffic.reset()
        head(torch.randn(8, 64, requires_grad=True), torch.arange(8)).backward()
        optimizer.step()
    return head.world.traffic.calls, head.world.traffic.bytes


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_communication_is_what_the_ranks_exchange(run_ranks, ranks):
    calls, payload = run_ranks(traffic_of_a_step, ranks)[0]
    setting = Setting(classes=1000, embedding=64, gpus=ranks, batch=8, sample_rate=0.3, device="cpu")
    communication = plan(setting, memory=GB).communication
    for kind in {"all_gather", "all_reduce", "reduce_scatter"}:
        planned = [each.payload for each in communication.collectives if each.kind == kind]
        assert (len(planned), sum(planned)) == (calls.get(kind, 0), payload.get(kind, 0))


def test_communication_takes_the_rings_time():
    speed = Speed.of(FACES, bandwidth=1e9, latency=1e-3, host_bandwidth=1e6, host_latency=0.5)
    communication = plan(FACES, memory=80 * GB, speed=speed).communication
    scatter = next(each for each in communication.collectives if each.kind == "reduce_scatter")
    assert scatter.payload == 1024 * 512 * 4
    assert scatter.seconds == pytest.approx(1e-3 + 7 / 8 * scatter.payload / 1e9)
    (labels,) = [each for each in communication.collectives if each.what == "labels"]
    assert labels.seconds == pytest.approx(0.5 + 7 / 8 * (1024 + 8 * 6) * 8 / 1e6)
    halved = plan(replace(FACES, gather_dtype="bfloat16"), memory=80 * GB, speed=speed).communication
    assert communication.sent - halved.sent == 7 / 8 * 1024 * 512 * 2


def test_labels_go_between_hosts_on_gpus_and_all_does_on_cpus():
    """As World sends them: of the group "cpu:gloo,cuda:nccl", what is on the CPU goes through gloo."""

    def kinds(setting: Setting) -> list[str]:
        return [each.what for each in plan(setting, memory=80 * GB).communication.collectives if each.on_host]

    assert kinds(FACES) == ["labels"]
    assert len(kinds(replace(FACES, device="cpu"))) == 5


def test_a_speed_that_is_given_for_cpus_is_that_of_all_collectives():
    on_cpu = Speed.of(replace(FACES, device="cpu"), bandwidth=5e9)
    assert (on_cpu.bandwidth, on_cpu.host_bandwidth) == (5e9, 5e9)
    on_gpu = Speed.of(FACES, bandwidth=5e9)
    assert on_gpu.host_bandwidth < on_gpu.bandwidth
    assert "host_bandwidth" in on_gpu.assumed
