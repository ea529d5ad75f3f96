"""A head with a bias, and one with sub-centres: states, copies, devices, what is refused."""

import copy
import pickle
from typing import Any

import pytest
import torch

import partialfc
from tests.head.test_variants import Raw

D, C, N = 8, 30, 12
SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-3}
OPTIMIZERS = {"RowSGD": SGD, "RowAdamW": {"lr": 0.01}}


def build(*, bias: bool = True, k: int = 1, **options: Any) -> partialfc.PartialFC:
    margin: partialfc.Margin = Raw(bias=bias)
    settings: dict[str, Any] = {
        "sample_rate": 0.3,
        "margin": margin if k == 1 else partialfc.SubCenter(k=k, base=margin),
        "weight_dtype": torch.float64,
        "compute_dtype": torch.float64,
    }
    return partialfc.PartialFC(D, C, **settings | options)


def run_steps(head: partialfc.PartialFC, optimizer: Any, first: int, last: int) -> list[float]:
    losses = []
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        embeddings = torch.randn(N, D, dtype=torch.float64, generator=generator).to(head.weight.device)
        labels = torch.randint(0, C // 3, (N,), generator=generator)
        loss = head(embeddings.requires_grad_(), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def optimizer_of(head: partialfc.PartialFC, name: str) -> Any:
    return getattr(partialfc, name)(head, **OPTIMIZERS[name])


# States, copies


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_states_resume_bit_for_bit(tmp_path, name, k):
    head = build(k=k)
    optimizer = optimizer_of(head, name)
    run_steps(head, optimizer, 0, 10)
    torch.save((head.state_dict(), optimizer.state_dict()), tmp_path / "state.pt")
    assert head.bias.abs().max() > 0
    expected = run_steps(head, optimizer, 10, 20)
    other = build(k=k)
    resumed = optimizer_of(other, name)
    of_head, of_optimizer = torch.load(tmp_path / "state.pt", weights_only=True)
    other.load_state_dict(of_head)
    resumed.load_state_dict(of_optimizer)
    assert run_steps(other, resumed, 10, 20) == expected
    assert torch.equal(other.state_dict()["bias"], head.state_dict()["bias"])


def test_a_state_holds_the_biases_as_they_are_now():
    head = build()
    optimizer = optimizer_of(head, "RowSGD")
    run_steps(head, optimizer, 0, 20)
    now = head.rows(None).biases().clone()
    assert not torch.equal(now, head.bias)  # some owe
    assert torch.equal(head.state_dict()["bias"], now)


@pytest.mark.parametrize("way", ["copy", "pickle"])
def test_a_copy_is_a_head_of_its_own(way):
    head = build()
    optimizer = optimizer_of(head, "RowSGD")
    run_steps(head, optimizer, 0, 10)
    other = copy.deepcopy(head) if way == "copy" else pickle.loads(pickle.dumps(head))
    again = optimizer_of(other, "RowSGD")
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    before = other.bias.detach().clone()
    expected = run_steps(head, optimizer, 10, 20)
    assert torch.equal(other.bias, before)
    assert run_steps(other, again, 10, 20) == expected


@pytest.mark.parametrize(
    ("saved", "own", "differs"),
    [
        ({"bias": False}, {}, "its bias is False, this head's is True"),
        ({}, {"bias": False}, "its bias is True, this head's is False"),
        ({"k": 3}, {}, "its sub_centers is 3, this head's is 1"),
        ({}, {"k": 3}, "its sub_centers is 1, this head's is 3"),
    ],
    ids=["no bias", "a bias", "sub-centres", "no sub-centres"],
)
def test_the_state_of_another_kind_of_head_is_one_clear_error(saved, own, differs):
    other, head = build(**saved), build(**own)
    states = other.state_dict(), optimizer_of(other, "RowSGD").state_dict()
    before = head.weight.detach().clone()
    for module, state in zip((head, optimizer_of(head, "RowSGD")), states, strict=True):
        with pytest.raises(ValueError, match=f"this state is that of another kind of head: {differs}"):
            module.load_state_dict(state)
    assert torch.equal(head.weight, before)


# Devices, dtypes


def moved(name: str, way: list[str], k: int) -> dict[str, Any]:
    head = build(k=k, device=way[0])
    optimizer = optimizer_of(head, name)
    losses = []
    for turn, device in enumerate(way):
        head.to(device)
        assert {tensor.device.type for tensor in (*head.parameters(), *head.buffers())} == {device}
        assert {tensor.device.type for tensor in optimizer.row_state.values()} <= {device}
        losses += run_steps(head, optimizer, 3 * turn, 3 * turn + 3)
    state = head.state_dict()
    return {"losses": losses, "weight": state["weight"].cpu(), "bias": state["bias"].cpu()}


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_bias_goes_with_its_head(on_pretend, name, k):
    found = on_pretend(moved, name, ["cpu", "pretend", "cpu"], k)
    expected = moved(name, ["cpu"] * 3, k)
    assert found["losses"] == pytest.approx(expected["losses"], abs=1e-9)
    for key in ("weight", "bias"):
        torch.testing.assert_close(found[key], expected[key], atol=1e-9, rtol=0)


@pytest.mark.parametrize("how", ["assign", "to_empty", "reset"])
def test_a_bias_on_meta_gets_its_values(how):
    trained = build()
    run_steps(trained, optimizer_of(trained, "RowSGD"), 0, 3)
    state = trained.state_dict()
    head = build(device="meta")
    assert head.bias.is_meta
    if how == "assign":
        head.load_state_dict(copy.deepcopy(state), assign=True)  # torch notes in a state that it was assigned
    else:
        head.to_empty(device="cpu")
        head.reset_parameters()
        assert torch.equal(head.bias, torch.zeros(C).double())
        if how == "to_empty":
            head.load_state_dict(state)
    expected = build()
    if how != "reset":
        expected.load_state_dict(state)
    optimizers = [optimizer_of(each, "RowSGD") for each in (head, expected)]
    assert run_steps(head, optimizers[0], 3, 6) == run_steps(expected, optimizers[1], 3, 6)


def test_a_bias_without_values_is_no_head_to_use():
    head = build(device="meta")
    state = build().state_dict()
    del state["bias"]
    head.load_state_dict(state, assign=True, strict=False)
    with pytest.raises(RuntimeError, match="head is on the device meta, so its centres have no values"):
        run_steps(head, None, 0, 1)


@pytest.mark.parametrize("on", ["cpu", "meta"])
def test_a_bias_of_another_dtype_is_not_assigned(on):
    head, state = build(device=on), build().state_dict()
    state["bias"] = state["bias"].float()
    with pytest.raises(ValueError, match=r"assign=True would make bias torch\.float32 on cpu"):
        head.load_state_dict(state, assign=True)


def test_a_bias_keeps_its_dtype():
    head = build(weight_dtype=torch.bfloat16)
    assert head.bias.dtype == torch.float64
    for change in (head.half, head.double):
        with pytest.raises(ValueError, match=r"converting this head would make its \w+ torch\.float\d\d"):
            change()


# What reads the centres


@pytest.mark.parametrize("rows", [None, [2, 5]], ids=["all", "some"])
def test_a_bias_that_is_not_finite_is_found(rows):
    head = build(sample_rate=1.0)
    index = None if rows is None else torch.tensor(rows).numpy()
    assert head.are_finite(index)
    with torch.no_grad():
        head.bias[5] = torch.nan
    assert not head.are_finite(index)


def test_a_write_to_the_bias_is_a_move_of_the_centres():
    head = build()
    optimizer_of(head, "RowSGD")
    loss = head(torch.randn(N, D, dtype=torch.float64, requires_grad=True), torch.arange(N))
    with torch.no_grad():
        head.bias.add_(1.0)
    with pytest.raises(RuntimeError, match="the head's centres have moved"):
        loss.backward()
