"""The head on a GPU: the CPU's numbers, steps that wait for nothing, states that go there and back."""

from typing import Any

import pytest
import torch

import partialfc
from tests.devices import CPU, DEVICE, never_waiting, on_accelerators_alone, on_real_devices_alone
from tests.head.cases import MARGINS
from tests.head.margins import every
from tests.head.test_accelerator import OPTIMIZERS, C, batch, build, evaluate, resumed, train
from tests.head.test_softmax import pull_error

pytestmark = pytest.mark.gpu

WIDE, NARROW = torch.float32, torch.bfloat16
STORAGE: dict[str, dict[str, Any]] = {
    "float64": {"weight_dtype": torch.float64, "compute_dtype": torch.float64},
    "float32": {"weight_dtype": WIDE, "compute_dtype": WIDE},
    "bfloat16": {"weight_dtype": NARROW, "compute_dtype": NARROW},
}
TOLERANCES = {"float64": 1e-10, "float32": 1e-3, "bfloat16": 5e-2}
MOMENTA = {"bfloat16": NARROW, "int8": torch.int8, "none": None}


def compare(*args: Any, tolerance: float, **options: Any) -> None:
    """Losses, gradient and rows there and on the CPU, relative to the largest number of each."""
    found, expected = train(DEVICE, *args, **options), train("cpu", *args, **options)
    for name, value in expected.items():
        largest = max(value.to(torch.float64).abs().max().item(), 1.0)
        torch.testing.assert_close(
            found[name].double(), value.double(), atol=tolerance * largest, rtol=0, msg=name
        )


@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("margin", MARGINS)
def test_every_margin_optimizer_and_dtype_has_the_cpus_numbers(margin, optimizer, storage, sample_rate):
    compare(*(margin, optimizer), sample_rate=sample_rate, tolerance=TOLERANCES[storage], **STORAGE[storage])


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("margin", every.MARGINS)
def test_adaptive_margins_have_the_cpus_numbers(margin, storage):
    compare(margin, sample_rate=0.3, tolerance=TOLERANCES[storage], **STORAGE[storage])


@pytest.mark.parametrize("unsampled", ["dense", "frozen"])
@pytest.mark.parametrize("weight", ["float32", "bfloat16"])
@pytest.mark.parametrize("momentum", MOMENTA)
def test_every_way_to_store_rows_and_momentum(momentum, weight, unsampled):
    mover = {"unsampled": unsampled, "momentum": 0.9}
    mover |= {"momentum_dtype": MOMENTA[momentum]} if MOMENTA[momentum] else {"momentum": 0.0}
    storage = {"weight_dtype": STORAGE[weight]["weight_dtype"], "compute_dtype": WIDE}
    compare(sample_rate=0.3, mover=mover, tolerance=2e-2, **storage)


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_micro_batches_ignored_samples_and_weights(optimizer, storage, compiled):
    """On the device as asked, on the CPU uncompiled."""
    options = {"accumulation": 3, "valid": False, "weighted": True, "sample_rate": 0.3, **STORAGE[storage]}
    options["class_weights"] = torch.linspace(0.5, 2.0, C)
    found = train(DEVICE, "arcface", optimizer, compile=compiled, **options)
    expected = train("cpu", "arcface", optimizer, **options)
    for name, value in expected.items():
        largest = max(value.double().abs().max().item(), 1.0)
        atol = TOLERANCES[storage] * largest
        torch.testing.assert_close(found[name].double(), value.double(), atol=atol, rtol=0, msg=name)


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("sample_rate", [1.0, 0.1])
@pytest.mark.parametrize(
    ("optimizer", "head", "mover"),
    [
        ("RowSGD", {"weight_dtype": NARROW, "compute_dtype": NARROW}, {"momentum_dtype": torch.int8}),
        ("RowSGD", {"weight_dtype": WIDE, "compute_dtype": NARROW}, {}),
        ("RowSGD", {"weight_dtype": WIDE, "compute_dtype": WIDE}, {"unsampled": "frozen"}),
        ("RowAdamW", {"weight_dtype": WIDE, "compute_dtype": NARROW}, {}),
    ],
    ids=["narrow", "dense", "frozen", "adamw"],
)
def test_a_step_waits_for_nothing(optimizer, head, mover, sample_rate, compiled):
    built = build(DEVICE, "arcface", {**head, "sample_rate": sample_rate, "compile": compiled})
    moving = getattr(partialfc, optimizer)(built, **OPTIMIZERS[optimizer] | mover)
    batches = [batch(number) for number in range(5)]
    ready = [(x.float().to(DEVICE).requires_grad_(), labels) for x, labels in batches]

    def step(x: torch.Tensor, labels: torch.Tensor) -> None:
        built(x, labels).backward()
        moving.step()
        moving.zero_grad()

    for x, labels in ready[:2]:  # compiled, and the first memory taken
        step(x, labels)
    with never_waiting():
        for x, labels in ready[2:]:
            step(x, labels)


@on_accelerators_alone
def test_the_pull_is_not_rounded_where_products_run_in_bfloat16():
    assert pull_error(DEVICE) < 1e-5


def test_labels_may_lie_on_the_device():
    head = build(DEVICE, "cosface", {}).eval()
    embeddings, labels = batch(0)
    x = embeddings.to(DEVICE)
    assert head(x, labels).item() == head(x, labels.to(DEVICE)).item()


def test_eval_mode_and_the_nearest_classes():
    found, expected = evaluate(DEVICE), evaluate("cpu")
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-10)
    torch.testing.assert_close(found["cosines"], expected["cosines"], atol=1e-10, rtol=0)
    assert torch.equal(found["classes"], expected["classes"])


def test_a_state_goes_from_one_head_to_another():
    whole, halves = resumed(DEVICE, 0), resumed(DEVICE, 2)
    torch.testing.assert_close(halves["weight"], whole["weight"], atol=1e-12, rtol=0)


@on_real_devices_alone
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
def test_a_sparse_gradient_is_the_cpus(sample_rate):
    gradients = []
    for device in (DEVICE, "cpu"):
        head = build(device, "arcface", {"sample_rate": sample_rate, "sparse_grad": True})
        embeddings, labels = batch(0)
        head(embeddings.to(device).requires_grad_(), labels).backward()
        gradient = head.weight.grad.coalesce()
        assert gradient.device.type == head.weight.device.type
        torch.optim.SGD(head.parameters(), lr=1.0).step()
        gradients.append((gradient.indices().cpu(), gradient.values().cpu(), head.weight.detach().cpu()))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_that_is_not_taken_leaves_no_trace(optimizer):
    """A NaN in the batch: the loss says so, the gradient is dropped, and the next step is the first's."""
    rows = []
    for spoilt in (False, True):
        head = build(DEVICE, "arcface", {})
        moving = getattr(partialfc, optimizer)(head, **OPTIMIZERS[optimizer])
        embeddings, labels = batch(0)
        if spoilt:
            loss = head((embeddings * torch.nan).to(DEVICE).requires_grad_(), labels)
            loss.backward()
            assert not loss.isfinite().item()
            moving.zero_grad()
        head(embeddings.to(DEVICE).requires_grad_(), labels).backward()
        moving.step()
        moving.flush()
        rows.append(head.weight.detach().to(CPU))
    assert torch.equal(*rows)


@pytest.mark.parametrize("enabled", [None, torch.bfloat16, torch.float16], ids=str)
def test_autocast_around_the_head_changes_nothing(enabled):
    """Its arithmetic follows its own dtypes; embeddings come as the backbone gives them."""
    head = build(DEVICE, "arcface", STORAGE["float32"]).eval()
    embeddings, labels = batch(0)
    x = embeddings.to(enabled or WIDE).to(DEVICE)
    with torch.autocast(torch.device(DEVICE).type, dtype=enabled, enabled=enabled is not None):
        within = head(x, labels)
    assert within.dtype == WIDE
    assert within.item() == head(x, labels).item()
