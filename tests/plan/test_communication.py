"""Planned communication against what ranks exchange, and by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import partialfc
from partialfc.config.plan import planned_setting
from partialfc.errors import ConfigError
from partialfc.plan import Collective, Setting, Speed, plan
from partialfc.plan.communication import OUTCOME
from partialfc.plan.describe import describe, to_dict
from partialfc.training.outcome import COLUMNS
from tests.config.cases import small
from tests.plan.cases import FACES, GB

KINDS: dict[str, tuple[list[str], Callable[[], dict[str, Any]]]] = {
    "plain": ([], dict),
    "softmax": (
        ["head.margin={name: softmax, bias: true}"],
        lambda: {"margin": partialfc.Softmax(bias=True)},
    ),
    "norm": (["head.margin.name=modified_softmax"], lambda: {"margin": partialfc.ModifiedSoftmax()}),
    "negatives": (["head.margin.name=curricularface"], lambda: {"margin": partialfc.CurricularFace()}),
    "by class": (
        ["head.margins_by_size={}", "head.class_weights=weights.npy", "head.sub_centers=2"],
        lambda: {
            "margin": partialfc.SubCenter(k=2, base=partialfc.ArcFace()),
            "class_margins": [0.1] * 1000,
            "class_weights": [1.0] * 1000,
        },
    ),
}


def traffic_of_a_step(kind: str) -> tuple[dict[str, int], dict[str, int]]:
    options = {"margin": partialfc.ArcFace(), **KINDS[kind][1]()}
    head = partialfc.PartialFC(64, 1000, sample_rate=0.3, **options)
    optimizer = partialfc.RowSGD(head, lr=0.1)
    for _ in range(2):  # in the first, no rank knows yet how many labels the others have
        head.world.traffic.reset()
        head(torch.randn(8, 64, requires_grad=True), torch.arange(8)).backward()
        optimizer.step()
    return head.world.traffic.calls, head.world.traffic.bytes


@pytest.mark.parametrize(("ranks", "kind"), [(1, "plain"), (3, "plain"), *((2, kind) for kind in KINDS)])
def test_communication_is_what_the_ranks_exchange(run_ranks, ranks, kind):
    calls, payload = run_ranks(traffic_of_a_step, ranks, kind)[0]
    size = ["data.num_classes=1000", "backbone.embedding_size=64", "head.sample_rate=0.3"]
    config = small(*size, f"train.batch_size={8 * ranks}", "train.device=cpu", *KINDS[kind][0])
    setting = planned_setting(config, gpus=ranks)
    communication = plan(setting, memory=GB).communication
    for kind in {"all_gather", "all_reduce", "reduce_scatter"}:
        of_head = [each for each in communication.collectives if each.what != "outcome"]
        planned = [each.payload for each in of_head if each.kind == kind]
        assert (len(planned), sum(planned)) == (calls.get(kind, 0), payload.get(kind, 0))


def collectives(setting: Setting, **speed: float) -> dict[str, Collective]:
    made = plan(setting, memory=80 * GB, speed=Speed.of(setting, **speed)).communication
    return {each.what: each for each in made.collectives}


def test_communication_takes_the_rings_time():
    given = {"bandwidth": 1e9, "latency": 1e-3, "host_bandwidth": 1e6, "host_latency": 0.5}
    made = collectives(FACES, **given, hop=1e-4, host_hop=0.01)
    scatter, labels = made["embedding gradients"], made["labels"]
    assert scatter.payload == 1024 * 512 * 4
    assert scatter.hop_seconds == pytest.approx(7e-4)
    assert scatter.seconds == pytest.approx(1e-3 + 7e-4 + 7 / 8 * scatter.payload / 1e9)
    assert labels.seconds == pytest.approx(0.5 + 0.07 + 7 / 8 * (1024 + 8 * 6) * 8 / 1e6)
    micro = collectives(replace(FACES, accumulation=3), **given, hop=1e-4, host_hop=0.01)
    assert micro["labels"].seconds == pytest.approx(3 * labels.seconds)
    assert micro["labels"].hops == labels.hops == 7
    assert (micro["labels"].calls, micro["outcome"].calls) == (3, 1)
    assert micro["outcome"] == made["outcome"]
    halved = plan(replace(FACES, gather_dtype="bfloat16"), memory=80 * GB).communication
    assert plan(FACES, memory=80 * GB).communication.sent - halved.sent == 7 / 8 * 1024 * 512 * 2


def test_ranks_take_one_decision_in_a_sum_with_few_hops():
    assert len(COLUMNS) == OUTCOME
    outcome = collectives(replace(FACES, gpus=1024))["outcome"]
    assert (outcome.kind, outcome.payload, outcome.hops) == ("all_reduce", 1024 * 5 * 8, 28)


def test_gpus_reduce_along_a_tree_of_nodes_and_gather_round_a_ring_of_all():
    many = collectives(replace(FACES, gpus=1024), hop=1.0, network_hop=100.0)
    assert many["sums"].hop_seconds == 2 * (7 * 1.0 + 7 * 100.0)
    assert many["embeddings"].hop_seconds == many["embedding gradients"].hop_seconds == 896 + 127 * 100.0
    one_each = collectives(replace(FACES, gpus=5), hop=1.0, network_hop=100.0, gpus_per_node=1)
    assert one_each["sums"].hop_seconds == 2 * 3 * 100.0
    assert one_each["embeddings"].hop_seconds == 4 * 100.0


def test_cpus_pass_everything_round_a_ring():
    """torch has gloo sum everything everywhere for a reduce-scatter."""
    made = collectives(replace(FACES, gpus=4, device="cpu"), hop=1.0)
    assert {name: each.hops for name, each in made.items()} == {
        "labels": 3,
        "embeddings": 3,
        "target cosines": 6,
        "sums": 6,
        "embedding gradients": 6,
        "outcome": 6,
    }
    assert made["embedding gradients"].sent == 2 * 3 / 4 * made["embedding gradients"].payload
    assert all(each.hop_seconds == each.hops for each in made.values())


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_no_collective_is_faster_on_more_ranks(device):
    before = {"labels": 0.0}
    for gpus in (2, 3, 8, 9, 16, 17, 64, 1000, 1024, 1 << 14):
        made = {
            name: each.seconds for name, each in collectives(replace(FACES, gpus=gpus, device=device)).items()
        }
        assert all(made[name] > seconds for name, seconds in before.items())
        before = made


def test_at_1024_gpus_the_hosts_exchange_is_hops_and_the_plan_says_what_to_do():
    narrow = replace(FACES, gpus=1024, compute_dtype="bfloat16")
    made = plan(narrow, memory=80 * GB)
    labels = made.communication.collectives[0]
    assert labels.hops == 1023
    assert labels.hop_seconds > 0.9 * labels.seconds
    assert made.waits_for_hosts
    assert made.communication.labels_by_gpu < labels.seconds / 10
    text = describe(made)
    assert "for 1,023 hops, between the hosts (gloo)" in text
    assert "longer than all else of the head's step takes" in text
    assert "on 128 nodes" in text
    values = to_dict(made)
    assert values["waits_for_hosts"]
    assert values["communication"]["host_seconds"] == labels.seconds
    assert [each["seconds"] for each in values["communication"]["collectives"]] == [
        each.seconds for each in made.communication.collectives
    ]
    for other in (FACES, replace(narrow, device="cpu")):
        assert not plan(other, memory=80 * GB).waits_for_hosts
        assert "longer than all else" not in describe(plan(other, memory=80 * GB))


def test_labels_go_between_hosts_on_gpus_and_all_does_on_cpus():
    """As World sends them: of the group "cpu:gloo,cuda:nccl", what is on the CPU goes through gloo."""

    def kinds(setting: Setting) -> list[str]:
        return [each.what for each in plan(setting, memory=80 * GB).communication.collectives if each.on_host]

    assert kinds(FACES) == ["labels"]
    assert len(kinds(replace(FACES, device="cpu"))) == 6


def test_a_speed_that_is_given_for_cpus_is_that_of_all_collectives():
    on_cpu = Speed.of(replace(FACES, device="cpu"), bandwidth=5e9)
    assert (on_cpu.bandwidth, on_cpu.host_bandwidth) == (5e9, 5e9)
    on_gpu = Speed.of(FACES, bandwidth=5e9)
    assert on_gpu.host_bandwidth < on_gpu.bandwidth
    assert "host_bandwidth" in on_gpu.assumed
    assert Speed.of(replace(FACES, gpus=9)).bandwidth < Speed.of(FACES).bandwidth  # beyond one node
    assert Speed.of(replace(FACES, gpus=9), gpus_per_node=16).bandwidth == Speed.of(FACES).bandwidth


@pytest.mark.parametrize("count", [0, 1.5, True])
def test_a_node_has_a_whole_number_of_gpus(count):
    with pytest.raises(
        ConfigError, match=f"gpus_per_node is {count}; it must be a whole number of at least 1"
    ):
        Speed.of(FACES, gpus_per_node=count)
