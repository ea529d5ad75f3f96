"""The head on the pretend accelerator: the CPU's numbers, no wait for the device, no tensor of another."""

from typing import Any

import pytest
import torch

import partialfc
from tests.head.cases import MARGINS as OF_PLAIN_NEGATIVES
from tests.head.cases import D
from tests.head.margins import every
from tests.head.margins.dense import Make, built
from tests.head.margins.test_base import Reweighting
from tests.pretend.machine import machine

C, N, STEPS = 96, 12, 3
BFLOAT16 = torch.bfloat16
MARGINS: dict[str, Make] = {
    **{name: (make, arguments) for name, (make, arguments, _) in OF_PLAIN_NEGATIVES.items()},
    **every.MARGINS,
    "reweighting": (Reweighting, {}),
}
SUB_CENTERS: dict[str, Make] = {
    "sub_centers": (partialfc.SubCenter, {"k": 3, "base": every.ARCFACE}),
    "sub_centers_softmax": (partialfc.SubCenter, {"k": 2, "base": every.MARGINS["softmax_bias"]}),
    "sub_centers_curricularface": (partialfc.SubCenter, {"k": 2, "base": every.MARGINS["curricularface"]}),
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "RowSGD": {"lr": 0.5, "momentum": 0.9, "weight_decay": 5e-3},
    "RowAdamW": {"lr": 0.1},
}


def build(device: str, margin: str, head: dict[str, Any]) -> partialfc.PartialFC:
    usual = {"compute_dtype": torch.float64, "weight_dtype": torch.float64, "compile": False}
    return partialfc.PartialFC(D, C, margin=built((MARGINS | SUB_CENTERS)[margin]), **(usual | head)).to(
        device
    )


def batch(number: int, valid: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    labels = torch.randint(0 if valid else -1, C, (N,), generator=generator, device="cpu")
    return torch.randn(N, D, generator=generator, dtype=torch.float64, device="cpu"), labels


def train(
    device: str,
    margin: str = "arcface",
    optimizer: str = "RowSGD",
    *,
    accumulation: int = 1,
    valid: bool = True,
    weighted: bool = False,
    mover: dict[str, Any] | None = None,
    **head: Any,
) -> dict[str, torch.Tensor]:
    """Losses, the last embeddings' gradient, and the rows after a few steps."""
    partial_fc = build(device, margin, head)
    moving = getattr(partialfc, optimizer)(partial_fc, **OPTIMIZERS[optimizer] | (mover or {}))
    losses = []
    for number in range(STEPS * accumulation):
        embeddings, labels = batch(number, valid)
        x = embeddings.to(device).requires_grad_()
        weights = torch.linspace(0.0, 1.0, N) if weighted else None
        with machine.log.phase(f"step {number // accumulation}"):
            loss = partial_fc(x, labels, weights)
            (loss / accumulation).backward()
            if number % accumulation == accumulation - 1:
                moving.step()
                moving.zero_grad()
        losses.append(loss.detach())
    assert x.grad is not None
    moving.flush()
    return {
        "losses": torch.stack(losses).cpu(),
        "gradient": x.grad.cpu(),
        "weight": partial_fc.weight.detach().cpu(),
    }


def train_on_pretend(
    args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], list[str]]:
    result = train("pretend", *args, **options)
    return result, [str(fault) for fault in machine.log.faults if fault.phase]


def compare(on_pretend: Any, *args: Any, tolerance: float = 1e-10, **options: Any) -> None:
    """Equal numbers here and there, and not one wait in all of its steps."""
    found, faults = on_pretend(train_on_pretend, args, options)
    expected = train("cpu", *args, **options)
    assert faults == []
    for name, value in expected.items():
        largest = value.to(torch.float64).abs().max().item()
        torch.testing.assert_close(found[name], value, atol=tolerance * max(largest, 1.0), rtol=0, msg=name)


@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("margin", MARGINS)
def test_every_margin_and_optimizer(on_pretend, margin, optimizer, sample_rate):
    compare(on_pretend, margin, optimizer, sample_rate=sample_rate)


@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize("margin", [*every.STATEFUL, "reweighting"])
def test_a_margin_whose_state_moves_between_micro_batches(on_pretend, margin, sample_rate):
    compare(on_pretend, margin, sample_rate=sample_rate, accumulation=3)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("margin", ["sub_centers", "sub_centers_softmax", "sub_centers_curricularface"])
def test_several_centres_to_a_class(on_pretend, margin, accumulation):
    compare(on_pretend, margin, sample_rate=0.3, accumulation=accumulation)


@pytest.mark.parametrize("margin", ["arcface", "curricularface"])
@pytest.mark.parametrize(
    "head",
    [
        {"interclass_filter": 0.1},
        {"logit_correction": True},
        {"class_margins": torch.linspace(0.1, 0.5, C)},
    ],
    ids=lambda head: next(iter(head)),
)
def test_a_filter_a_correction_and_margins_of_classes(on_pretend, margin, head):
    compare(on_pretend, margin, sample_rate=0.3, **head)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
@pytest.mark.parametrize(
    ("head", "mover"),
    [
        ({"weight_dtype": torch.float32}, {}),
        ({"weight_dtype": torch.float32}, {"momentum_dtype": torch.bfloat16}),
        ({"weight_dtype": torch.float32}, {"momentum_dtype": torch.int8}),
        ({"weight_dtype": BFLOAT16}, {"momentum_dtype": torch.int8}),
        ({"weight_dtype": BFLOAT16}, {"unsampled": "frozen"}),
        ({"weight_dtype": torch.float64, "compute_dtype": torch.float64}, {}),
    ],
)
def test_every_storage_dtype(on_pretend, head, mover, sample_rate, accumulation):
    """Rounding to bfloat16 takes another way than on a CPU, and may come out a place apart."""
    options = {"compute_dtype": torch.float32, "mover": mover} | head
    tolerance = 1e-10 if head["weight_dtype"] == torch.float64 else 2e-2
    compare(on_pretend, sample_rate=sample_rate, accumulation=accumulation, tolerance=tolerance, **options)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_products_in_bfloat16(on_pretend, optimizer):
    """On a device that has such a product the pull is summed in float32."""
    compare(
        on_pretend, "arcface", optimizer, weight_dtype=torch.float32, compute_dtype=BFLOAT16, tolerance=0.05
    )


@pytest.mark.parametrize("sample_rate", [1.0, 0.3])
def test_ignored_samples_and_weights(on_pretend, sample_rate):
    options = {"valid": False, "weighted": True, "class_weights": torch.linspace(0.5, 2.0, C)}
    compare(on_pretend, sample_rate=sample_rate, **options)


def evaluate(device: str) -> dict[str, Any]:
    head = build(device, "arcface", {}).eval()
    embeddings, labels = batch(7)
    cosines, classes = head.top_k(embeddings.to(device), 3)
    with torch.no_grad():
        loss = head(embeddings.to(device), labels)
    return {"loss": loss.item(), "cosines": cosines.cpu(), "classes": classes.cpu()}


def test_eval_mode_and_the_nearest_classes(on_pretend):
    found, expected = on_pretend(evaluate, "pretend"), evaluate("cpu")
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-10)
    torch.testing.assert_close(found["cosines"], expected["cosines"], atol=1e-10, rtol=0)
    assert torch.equal(found["classes"], expected["classes"])


def resumed(device: str, middle: int) -> dict[str, torch.Tensor]:
    """Steps with a state_dict saved and loaded in the middle, 0 for none."""
    head = build(device, "arcface", {"sample_rate": 0.3})
    optimizer = partialfc.RowSGD(head, **OPTIMIZERS["RowSGD"])
    for number in range(4):
        if number == middle:
            saved, of_optimizer = head.state_dict(), optimizer.state_dict()
            head = build(device, "arcface", {"sample_rate": 0.3})
            optimizer = partialfc.RowSGD(head, **OPTIMIZERS["RowSGD"])
            head.load_state_dict(saved)
            optimizer.load_state_dict(of_optimizer)
        embeddings, labels = batch(number)
        head(embeddings.to(device).requires_grad_(), labels).backward()
        optimizer.step()
    optimizer.flush()
    return {"weight": head.weight.detach().cpu()}


def test_a_state_goes_from_one_head_to_another(on_pretend):
    whole, halves = (on_pretend(resumed, "pretend", middle) for middle in (0, 2))
    torch.testing.assert_close(halves["weight"], whole["weight"], atol=1e-12, rtol=0)


def test_a_compiled_head(on_pretend):
    """The updates' second handles, and their trial, which may wait, in the first step."""
    options = {"compile": True, "sample_rate": 0.3}
    found, faults = on_pretend(train_on_pretend, ("arcface",), options)
    expected = train("cpu", sample_rate=0.3)
    torch.testing.assert_close(found["weight"], expected["weight"], atol=1e-10, rtol=0)
    assert [fault for fault in faults if "step 0" not in fault] == []


def labels_on_the_device() -> list[str]:
    head = build("pretend", "arcface", {})
    embeddings, labels = batch(0)
    there = labels.to("pretend")
    machine.log.clear()
    head(embeddings.to("pretend", non_blocking=False), there)
    return [fault.site for fault in machine.log.faults if fault.site.startswith("head/")]


def test_labels_on_the_device_cost_one_wait(on_pretend):
    """As the head's docstring says: its sampling runs on the host."""
    assert len(on_pretend(labels_on_the_device)) == 1
