"""What is exported: names, labels, first values, totals that a checkpoint keeps."""

import shutil
import subprocess

import pytest
import torch
from prometheus_client import CollectorRegistry

from partialfc.metrics import FAMILIES, Registry
from tests.metrics.cases import RANK, samples, text_of
from tests.paths import ROOT

DOCS = ROOT / "docs" / "reference" / "metrics.md"


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


def test_totals_of_a_counter_that_is_no_more_are_left_out():
    registry = Registry(run="mine", rank=0)
    registry.restore({"partialfc_gone_total": {"": 3.0}, "partialfc_steps_total": {"": 2.0}})
    assert samples(text_of(registry))["partialfc_steps_total", *RANK] == 2
