"""What communication costs a step."""

import dataclasses

import pytest

from partialfc.doctor import Level
from partialfc.doctor.link import Link, Rate
from partialfc.doctor.network import (
    Step,
    collective_seconds,
    gradient_seconds,
    judge_communication,
)
from partialfc.plan import Setting, Speed
from partialfc.plan.communication import communication_of

FAST = Rate(latency=20e-6, bandwidth=50e9)
SLOW = Rate(latency=1e-3, bandwidth=100e6 / 8)
JOB = Setting(classes=10_000_000, embedding=512, gpus=8, batch=128, sample_rate=0.1)


def test_a_step_is_estimated_as_the_plan_counts_it():
    """At one bandwidth for every collective their part is the plan's own figure."""
    link = Link(SLOW, SLOW, SLOW)
    rates = {"bandwidth": SLOW.bandwidth, "latency": SLOW.latency, "hop": 0.0}  # measured with all its hops
    of_hosts = {f"host_{name}": rate for name, rate in rates.items()}
    for job in (JOB, dataclasses.replace(JOB, accumulation=4)):
        planned = communication_of(job, Speed.of(job, **rates, **of_hosts, network_hop=0.0)).seconds
        assert collective_seconds(job, link) == pytest.approx(planned)
    assert gradient_seconds(250_000_000, 8, link) == pytest.approx(10 * 1e-3 + 250e6 * 1.75 / 12.5e6)


def test_what_goes_from_host_to_host_costs_what_that_costs():
    """On GPUs: what ranks agree on together with the labels, once a micro-batch."""
    late = dataclasses.replace(FAST, latency=0.1)
    micro = dataclasses.replace(JOB, accumulation=3)
    slow, fast = (collective_seconds(micro, Link(FAST, FAST, hosts)) for hosts in (late, FAST))
    assert slow - fast == pytest.approx(3 * (0.1 - FAST.latency))
    on_cpu = dataclasses.replace(JOB, device="cpu")
    slow, fast = (collective_seconds(on_cpu, Link(FAST, gather, FAST)) for gather in (late, FAST))
    assert slow == fast


def test_a_network_that_makes_34_hours_1241_is_red_and_says_so():
    usual = {"gradients": 261_000_000, "step": Step(compute=0.3, backward=0.15), "steps": 400_000}
    fast = judge_communication(Link(FAST, FAST, FAST), JOB, backend="cuda", **usual)
    assert fast.level == Level.GREEN
    slow = judge_communication(Link(SLOW, SLOW, SLOW), JOB, backend="cuda", **usual)
    assert slow.level == Level.RED
    assert "in place of 33.3 h" in slow.says
    assert slow.remedy.startswith("set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to the fast")
    on_cpus = judge_communication(Link(SLOW, SLOW, SLOW), JOB, backend="cpu", **usual)
    assert on_cpus.remedy.startswith("set GLOO_SOCKET_IFNAME to the fast")


def test_gradients_cost_only_what_the_backward_pass_does_not_hide():
    link = Link(all_reduce=Rate(0.0, 1e9), all_gather=Rate(0.0, 1e12), host_gather=Rate(0.0, 1e12))
    usual = {"gradients": 100_000_000, "steps": 10**6, "backend": "cuda"}  # 0.175 s
    hidden = judge_communication(link, JOB, step=Step(compute=0.3, backward=0.2), **usual)
    assert hidden.level == Level.GREEN
    bare = judge_communication(link, JOB, step=Step(compute=0.3, backward=0.01), **usual)
    assert bare.level == Level.YELLOW
