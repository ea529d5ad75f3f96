"""Heads built on a device, moved to another, and without values on `meta`."""

import copy
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import partialfc
from partialfc.head.initial import BLOCK_ROWS, normal_rows
from tests.head.cases import D
from tests.head.test_accelerator import OPTIMIZERS, C, batch, train
from tests.pretend.machine import machine


class Averaged(partialfc.CosFace):
    """A margin with a buffer that is saved, and one that is not."""

    def __init__(self) -> None:
        super().__init__(scale=16.0)
        self.register_buffer("mean", torch.full((), 0.5, dtype=torch.float64))
        self.register_buffer("fixed", torch.full((), 2.0, dtype=torch.float64), persistent=False)

    def update(self, samples: partialfc.Samples) -> None:
        self.mean.lerp_(samples.cos.mean(), 0.1)

    def target(self, samples: partialfc.Samples) -> torch.Tensor:
        return self.scale * (samples.cos - 0.1 * self.mean * self.fixed)


def build(device: Any = None, **head: Any) -> partialfc.PartialFC:
    usual = {"compute_dtype": torch.float64, "weight_dtype": torch.float64, "compile": False}
    margin = head.pop("margin", None) or Averaged()
    return partialfc.PartialFC(
        D, C, margin=margin, class_weights=[1.0 + k / C for k in range(C)], device=device, **(usual | head)
    )


def run_steps(head: partialfc.PartialFC, optimizer: Any, first: int, last: int) -> list[float]:
    losses = []
    for number in range(first, last):
        embeddings, labels = batch(number)
        loss = head(embeddings.to(head.weight.device).requires_grad_(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


# Built there


def drawn(start: int, stop: int, size: int, dtype: torch.dtype, threads: int) -> torch.Tensor:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    rows = normal_rows(start, stop, size, seed=3, dtype=dtype, device=torch.device("pretend"))
    torch.set_num_threads(before)
    copies = [fault for fault in machine.log.faults if fault.kind != "wait"]
    assert copies == []  # no copy blocks, and no buffer changes before the device has read it
    assert rows.device.type == "pretend"
    return rows.cpu()


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("start", "stop"), [(0, 12 * BLOCK_ROWS), (700, 5 * BLOCK_ROWS + 9), (5, 6), (8, 8)])
def test_the_first_values_are_those_of_the_cpu(on_pretend, start, stop, dtype, threads):
    here = normal_rows(start, stop, 24, seed=3, dtype=dtype)
    assert torch.equal(on_pretend(drawn, start, stop, 24, dtype, threads), here)


def peak_of_building(classes: int) -> tuple[int, int]:
    """Bytes that the host held at most beside what it held before, and that the device holds."""

    def status(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))

    normal_rows(0, 20_000, 512, seed=0, dtype=torch.float32, device=torch.device("pretend"))
    torch.set_num_threads(2)
    machine.hollow = True
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, allocated = status("VmRSS"), machine.memory.allocated
    head = partialfc.PartialFC(512, classes, margin=partialfc.ArcFace(), device="pretend")
    found = status("VmHWM") - before, machine.memory.allocated - allocated
    machine.hollow = False
    torch.set_num_threads(1)
    assert head.weight.shape == (classes, 512)
    return found


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads peak memory from Linux's /proc")
def test_the_host_holds_a_few_megabytes_of_a_shard_of_any_size(on_pretend):
    on_host, on_device = on_pretend(peak_of_building, 200_000)
    assert on_device >= 200_000 * 512 * 4
    assert on_host < 24 << 20


def devices_of(head: partialfc.PartialFC) -> set[str]:
    return {tensor.device.type for tensor in (*head.parameters(), *head.buffers(), head.last_norm)}


def built_there() -> list[set[str]]:
    named = build("pretend")
    by_index, by_device = build(0), build(torch.device("pretend:0"))
    with torch.device("pretend"):
        in_context = build()
    return [devices_of(head) for head in (named, by_index, by_device, in_context, build("cpu"), build())]


def test_all_of_a_head_is_on_its_device(on_pretend):
    assert on_pretend(built_there) == [{"pretend"}] * 4 + [{"cpu"}] * 2


def trained_by_default(device: str, *args: Any, **options: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
    torch.set_default_device(device)
    try:
        result = train("pretend", *args, **options)
    finally:
        torch.set_default_device(None)
    return result, [str(fault) for fault in machine.log.faults if fault.phase]


@pytest.mark.parametrize("default", ["pretend", "cpu"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_torchs_default_device_changes_no_step(on_pretend, optimizer, default):
    """As code that sets it does, for all of its run."""
    found, faults = on_pretend(trained_by_default, default, "arcface", optimizer)
    assert faults == []
    for name, value in train("cpu", "arcface", optimizer).items():
        torch.testing.assert_close(found[name], value, atol=1e-9, rtol=0, msg=name)


def refused(device: Any) -> str:
    with pytest.raises(ValueError, match="device is") as error:
        build(device)
    return str(error.value)


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("gpu", "a device that torch knows, .* This machine has no accelerator"),
        ("cuda" if not torch.cuda.is_available() else "xpu", "but this machine has "),
        (1.5, "must be a torch.device, a name"),
        (True, "must be a torch.device, a name"),
        (-1, "a device that torch knows"),
    ],
    ids=["unknown", "absent", "number", "bool", "negative"],
)
def test_a_device_that_is_none_is_refused(device, says):
    with pytest.raises(ValueError, match=f"device is .*{says}"):
        build(device)


def test_where_there_is_an_accelerator_the_error_names_it(on_pretend):
    assert on_pretend(refused, "xpu") == "device is 'xpu', but this machine has 1 pretend device"


# Moved


def moved(optimizer: str, options: dict[str, Any], way: list[str], accelerated: bool) -> dict[str, Any]:
    """A few steps on each device of the way, with one head and one optimizer."""
    head = build(way[0], sample_rate=0.3)
    moving = getattr(partialfc, optimizer)(head, **OPTIMIZERS[optimizer] | options)
    losses = []
    for turn, device in enumerate(way):
        holder = torch.nn.Sequential(head).to(device)
        assert holder[0] is head
        assert {tensor.device.type for tensor in (*head.parameters(), *head.buffers())} == {device}
        assert {tensor.device.type for tensor in moving.row_state.values()} <= {device}
        losses += run_steps(head, moving, 3 * turn, 3 * turn + 3)
    return {"losses": losses, "weight": head.state_dict()["weight"].cpu(), "state": len(moving.state)}


WAYS = {"there": ["cpu", "pretend"], "back": ["pretend", "cpu"], "and back": ["cpu", "pretend", "cpu"]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("RowSGD", {}),
        ("RowSGD", {"unsampled": "frozen"}),
        ("RowSGD", {"momentum_dtype": torch.int8}),
        ("RowAdamW", {}),
    ],
    ids=["dense", "frozen", "int8", "adamw"],
)
def test_a_row_optimizer_goes_with_its_head(on_pretend, optimizer, options, way):
    found = on_pretend(moved, optimizer, options, WAYS[way], True)
    expected = moved(optimizer, options, ["cpu"] * len(WAYS[way]), False)
    assert found["losses"] == pytest.approx(expected["losses"], abs=1e-9)
    torch.testing.assert_close(found["weight"], expected["weight"], atol=1e-9, rtol=0)
    assert found["state"] == 1


def moved_too_early(what: str) -> None:
    head = build("cpu")
    optimizer = partialfc.RowSGD(head, lr=0.1)
    embeddings, labels = batch(0)
    loss = head(embeddings.requires_grad_(), labels)
    if what == "gradient":
        loss.backward()
    head.to("cpu")  # where it is
    head.to("pretend")
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("gradient", "gradients of this head wait on cpu .* cannot move to pretend:0 now"),
        ("loss", "the head's centres have moved since the forward of this loss"),
    ],
)
def test_a_head_does_not_move_in_the_middle_of_a_step(on_pretend, what, says):
    with pytest.raises(RuntimeError, match=says):
        on_pretend(moved_too_early, what)


# On meta


def test_on_meta_the_centres_have_no_values_and_all_else_does():
    heads = [build("meta")]
    with torch.device("meta"):
        heads.append(build(margin=partialfc.CosFace()))
    for head in heads:
        assert head.weight.is_meta
        assert {buffer.device.type for buffer in head.buffers()} == {"cpu"}
    for call in (
        lambda: heads[0](*batch(0)),
        lambda: heads[0].top_k(batch(0)[0], 1),
        lambda: partialfc.RowSGD(heads[0], lr=0.1),
        lambda: partialfc.RowAdamW(heads[0], lr=0.1),
    ):
        with pytest.raises(RuntimeError, match="head is on the device meta, so its centres have no values"):
            call()
    with pytest.raises(NotImplementedError, match="to_empty"):
        heads[0].to("cpu")


def test_a_large_head_on_meta_takes_no_memory():
    head = partialfc.PartialFC(512, 10**9, margin=partialfc.ArcFace(), device="meta")
    assert head.weight.shape == (10**9, 512)


def loaded_from_meta(device: str, how: str) -> dict[str, Any]:
    """The state and the steps of a head that was on meta before, and got a trained one's state."""
    trained = build(device)
    run_steps(trained, partialfc.RowSGD(trained, lr=0.5), 0, 2)
    state = trained.state_dict()
    head = build("meta")
    if how == "assign":
        head.load_state_dict(state, assign=True)
    else:
        torch.nn.Sequential(head).to_empty(device=device)
        head.load_state_dict(state)
    assert {tensor.device.type for tensor in (*head.parameters(), *head.buffers())} == {device}
    losses = run_steps(head, partialfc.RowSGD(head, lr=0.5, momentum=0.9), 2, 4)
    return {"losses": losses, "weight": head.state_dict()["weight"].cpu()}


@pytest.mark.parametrize("how", ["assign", "to_empty"])
@pytest.mark.parametrize("device", ["cpu", "pretend"])
def test_a_head_on_meta_gets_its_values_from_a_state(on_pretend, device, how):
    trained = build()
    run_steps(trained, partialfc.RowSGD(trained, lr=0.5), 0, 2)
    other = build()
    other.load_state_dict(trained.state_dict())
    losses = run_steps(other, partialfc.RowSGD(other, lr=0.5, momentum=0.9), 2, 4)
    found = on_pretend(loaded_from_meta, device, how)
    assert found["losses"] == pytest.approx(losses, abs=1e-9)
    torch.testing.assert_close(found["weight"], other.state_dict()["weight"], atol=1e-9, rtol=0)


def reset_there(device: str) -> torch.Tensor:
    head = build("meta").to_empty(device=device)
    head.reset_parameters()
    return head.weight.detach().cpu()


@pytest.mark.parametrize("device", ["cpu", "pretend"])
def test_reset_parameters_draws_the_first_values(on_pretend, device):
    assert torch.equal(on_pretend(reset_there, device), build().weight)


@pytest.mark.parametrize("make", ["RowSGD", "RowAdamW"])
def test_reset_parameters_leaves_nothing_owed(make):
    head = build(sample_rate=0.3)
    optimizer = getattr(partialfc, make)(head, **OPTIMIZERS[make])
    run_steps(head, optimizer, 0, 3)
    head.reset_parameters()
    optimizer.flush()
    assert torch.equal(head.weight, build().weight)


def test_a_state_of_another_dtype_is_refused_on_meta_too():
    state = build(weight_dtype=torch.float32).state_dict()
    with pytest.raises(ValueError, match=r"assign=True would make weight torch\.float32"):
        build("meta").load_state_dict(state, assign=True)


@pytest.mark.parametrize("within", [False, True])
def test_without_assign_a_state_does_not_reach_meta(within):
    head, state = build("meta"), build().state_dict()
    module = torch.nn.Sequential(head) if within else head
    state = {f"0.{name}": value for name, value in state.items()} if within else state
    with pytest.raises(ValueError, match=r"on the device meta .* load_state_dict\(state, assign=True\)"):
        module.load_state_dict(state)
    module.load_state_dict(state, assign=True)
    assert torch.equal(head.weight, build().weight)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("within", [False, True])
def test_a_state_without_values_is_refused(within, assign):
    head, state = build(), build("meta").state_dict()
    module = torch.nn.Sequential(head) if within else head
    state = {f"0.{name}": value for name, value in state.items()} if within else state
    with pytest.raises(ValueError, match=r"this state's .*weight is on the device meta, so it has no values"):
        module.load_state_dict(state, assign=assign)
    assert torch.equal(head.weight, build().weight)


def test_a_state_without_values_leaves_a_head_on_meta_as_it_is():
    head = build("meta")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch says that it copies nothing
        head.load_state_dict(build("meta").state_dict())
    assert head.weight.is_meta


def test_a_head_on_meta_is_copied_and_pickled():
    head = build("meta", margin=partialfc.CosFace())
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert other.weight.is_meta
        assert torch.equal(other.class_weights, head.class_weights)


def pickled_there() -> bytes:
    head = build("pretend", margin=partialfc.CosFace())
    copied = copy.deepcopy(head)
    assert devices_of(copied) == {"pretend"}
    assert torch.equal(copied.weight.cpu(), head.weight.cpu())
    file = io.BytesIO()
    torch.save({name: each.cpu() for name, each in head.state_dict().items() if name == "weight"}, file)
    return file.getvalue()


def test_a_head_on_a_device_is_copied_and_its_state_is_loaded_on_the_cpu(on_pretend):
    state = torch.load(io.BytesIO(on_pretend(pickled_there)))
    assert torch.equal(state["weight"], build().weight)
