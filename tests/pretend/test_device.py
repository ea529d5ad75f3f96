"""The pretend accelerator itself: it computes as a CPU does, and tells on what would wait, mix or race."""

import pytest
import torch

from tests.pretend.machine import machine

DEVICE = "pretend"


def faults() -> list[tuple[str, str]]:
    return [(fault.kind, fault.what) for fault in machine.log.faults]


def kinds() -> list[str]:
    return [fault.kind for fault in machine.log.faults]


def values() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, index = torch.randn(4, 3, generator=generator), torch.tensor([2, 0])
    there, of_index = a.to(DEVICE), index.to(DEVICE)
    written = there.clone()
    written[of_index] = there[:2] * 2
    written[0, 1:] += 1.0
    x = there.clone().requires_grad_()
    (x.exp() @ x.T).sum().backward()
    assert x.grad is not None
    assert str(there.device) == "pretend:0"
    return {
        "matrix": a,
        "rows": there[of_index].cpu(),
        "written": written.cpu(),
        "gradient": x.grad.cpu(),
        "made": torch.arange(2, 5, device=DEVICE).cpu() + torch.full((3,), 7, device=DEVICE).cpu(),
    }


def test_values_are_those_of_the_cpu(on_pretend):
    found = on_pretend(values)
    a = found["matrix"]
    written = a.clone()
    written[[2, 0]] = a[:2] * 2
    written[0, 1:] += 1.0
    x = a.clone().requires_grad_()
    (x.exp() @ x.T).sum().backward()
    torch.testing.assert_close(found["rows"], a[[2, 0]])
    torch.testing.assert_close(found["written"], written)
    torch.testing.assert_close(found["gradient"], x.grad)
    assert found["made"].tolist() == [9, 10, 11]


def waits() -> dict[str, list[str]]:
    a = torch.ones(3, device=DEVICE)
    pinned = torch.zeros(3).pin_memory()
    ways = {
        "item": lambda: a.sum().item(),
        "bool": lambda: bool(a.sum() > 0),
        "nonzero": lambda: torch.nonzero(a),
        "a boolean index": lambda: a[a > 0],
        "an index on the CPU": lambda: a[torch.tensor([0])],
        "numbers in a list": lambda: torch.tensor([1.0], device=DEVICE),
        "new_tensor": lambda: a.new_tensor([1.0]),
        "to the host": lambda: a.cpu(),
        "pageable": lambda: torch.zeros(3).to(DEVICE, non_blocking=True),
        "not non_blocking": lambda: pinned.to(DEVICE),
        "synchronize": lambda: torch.accelerator.synchronize(),
        "pinned": lambda: pinned.to(DEVICE, non_blocking=True),
        "to pinned memory": lambda: pinned.copy_(a, non_blocking=True),
        "masked_fill": lambda: a.masked_fill_(a > 5, 1.0),
        "a number on the host": lambda: a + torch.tensor(2.0),
    }
    found = {}
    for name, way in ways.items():
        machine.log.clear()
        way()
        found[name] = kinds()
    return found


def test_what_waits_is_told(on_pretend):
    found = on_pretend(waits)
    without = {"pinned", "to pinned memory", "masked_fill", "a number on the host"}
    assert {name for name, kinds in found.items() if not kinds} == without
    assert {kind for kinds in found.values() for kind in kinds} == {"wait", "blocking copy"}


def mixed() -> None:
    torch.ones(3, device=DEVICE) + torch.ones(3)


def test_tensors_of_two_devices_do_not_mix(on_pretend):
    with pytest.raises(RuntimeError, match="on the CPU, and others on pretend:0"):
        on_pretend(mixed)


def late() -> list[list[float]]:
    target = torch.zeros(2).pin_memory()
    target.copy_(torch.ones(2, device=DEVICE), non_blocking=True)
    event = torch.Event(DEVICE)
    event.record()
    seen = [target.tolist()]
    while not event.query():
        seen.append(target.tolist())
    return [*seen, target.tolist()]


def test_a_copy_to_the_host_has_arrived_once_its_event_has_passed(on_pretend):
    *before, after = on_pretend(late)
    assert all(value != value for values in before for value in values)  # NaN
    assert after == [1.0, 1.0]


def changed_too_early() -> list[tuple[str, str]]:
    source = torch.ones(2).pin_memory()
    source.to(DEVICE, non_blocking=True)
    source.fill_(2.0)
    torch.accelerator.current_stream().synchronize()
    return faults()


def test_pinned_memory_must_not_change_before_it_is_read(on_pretend):
    assert ("race", "pinned memory changed before the device had read it") in on_pretend(changed_too_early)


def on_two_streams(*, wait: bool, record: bool) -> list[str]:
    side = torch.Stream(DEVICE)
    with side:
        made = torch.ones(4, device=DEVICE)
    if wait:
        torch.accelerator.current_stream().wait_stream(side)
    made.sum()
    if record:
        made.record_stream(torch.accelerator.current_stream())
    del made
    return kinds()


def two_streams() -> dict[str, list[str]]:
    found = {}
    for name, options in {
        "ordered": {"wait": True, "record": True},
        "not waited for": {"wait": False, "record": True},
        "not recorded": {"wait": True, "record": False},
    }.items():
        machine.log.clear()
        found[name] = on_two_streams(**options)
    return found


def test_streams_must_wait_for_each_other_and_record_what_they_use(on_pretend):
    found = on_pretend(two_streams)
    assert found == {"ordered": [], "not waited for": ["race"], "not recorded": ["record_stream"]}


def costs() -> list[tuple[str, str, int, int]]:
    a = torch.ones(8, 4, device=DEVICE)
    index = torch.arange(2, device=DEVICE)
    machine.log.clear()
    with machine.log.phase("products"):
        a @ a.T
    with machine.log.phase("rows"):
        a[index]
        a[:2].add_(1.0)
        a.T  # noqa: B018
    return [(each.phase, each.name, each.touched, each.flops) for each in machine.log.operations]


def test_operations_are_logged_with_what_they_touch(on_pretend):
    assert on_pretend(costs) == [
        ("products", "mm", 2 * 8 * 4 * 4 + 8 * 8 * 4, 2 * 8 * 4 * 8),
        ("rows", "index", 2 * 2 * 4 * 4 + 2 * 8, 0),  # views cost nothing
        ("rows", "add_", 2 * 2 * 4 * 4, 0),
    ]


def fused() -> tuple[list[tuple[str, int]], list[float]]:
    def double(source: torch.Tensor, out: torch.Tensor) -> None:
        out.copy_((source + source).exp() * 2)

    a, out = torch.zeros(4, device=DEVICE), torch.empty(4, device=DEVICE)
    machine.log.clear()
    torch.compile(double)(a, out)
    return [(each.name, each.touched) for each in machine.log.operations], out.cpu().tolist()


def test_a_compiled_function_is_one_launch(on_pretend):
    operations, values = on_pretend(fused)
    assert operations == [("double", 4 * 4 * 2)]
    assert values == [2.0] * 4


def cache_traffic() -> list[int]:
    a = torch.ones(1 << 20, device=DEVICE)  # 4 MiB: fits
    torch.zeros(16 << 20, device=DEVICE)  # 64 MiB: pushes everything out
    machine.log.clear()
    a.sum()
    a.sum()
    return [each.moved for each in machine.log.operations]


def test_what_the_cache_holds_is_not_read_again(on_pretend):
    first, second = on_pretend(cache_traffic)
    assert first >= 4 << 20
    assert second == 0


def memory() -> tuple[int, int]:
    before = torch.accelerator.memory_allocated()
    torch.accelerator.reset_peak_memory_stats()
    a = torch.zeros(1024, device=DEVICE)
    view = a[:10]
    del a
    held = torch.accelerator.memory_allocated() - before
    del view
    return held, torch.accelerator.memory_allocated() - before


def test_memory_is_free_once_the_last_view_of_it_is_gone(on_pretend):
    assert on_pretend(memory) == (4096, 0)


def copied_without_autograd() -> list[str]:
    with torch.inference_mode():
        there = torch.ones(2, 3).to("pretend") + 1
        return [tensor.device.type for tensor in (there, there.cpu(), there.float().to("cpu"))]


def test_a_copy_to_the_host_lies_there_in_inference_mode_too(on_pretend):
    assert on_pretend(copied_without_autograd) == ["pretend", "cpu", "cpu"]
