"""Rows in bfloat16 and 8 bits: rounded without bias, to a neighbour, the same by every way."""

import copy
import functools
from typing import Any

import pytest
import torch
from torch import Tensor

import partialfc
from partialfc.head.kernels import storage
from partialfc.head.kernels.storage import Stored

CPU = torch.device("cpu")
NARROW = [torch.bfloat16, torch.int8]


def noise(rows: int, size: int, key: int) -> Tensor:
    first, _ = storage.uniform(storage.seeds(torch.arange(rows), size, key))
    assert first is not None
    return first


def stored_as(dtype: torch.dtype, rows: Tensor, key: int = 0) -> Stored:
    result = storage.zeros(*rows.shape, dtype, CPU)
    storage.write(result, None, rows, noise(*rows.shape, key))
    return result


def grid(dtype: torch.dtype, rows: Tensor) -> Tensor:
    """The distance between neighbours around each element."""
    if dtype == torch.bfloat16:
        return 2.0 ** (rows.abs().log2().floor() - 7)
    block = storage.block_size(rows.shape[1])
    largest = rows.view(len(rows), -1, block).abs().amax(2, keepdim=True) / 127
    return largest.expand(-1, -1, block).reshape(rows.shape)


@pytest.mark.parametrize("dtype", NARROW)
def test_rounding_is_to_a_neighbour_and_right_on_average(dtype):
    rows = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    keys = 2000
    values = torch.stack(
        [storage.read(stored_as(dtype, rows, key), None, torch.float64) for key in range(keys)]
    )
    step = grid(dtype, rows.double())
    assert ((values - rows).abs() <= 1.001 * step).all()
    error = (values.mean(0) - rows) / step
    # A step's rounding has a standard deviation of at most half a step.
    assert error.abs().max() < 5 * 0.5 / keys**0.5
    assert abs(error.mean()) < 5 * 0.5 / (keys * rows.numel()) ** 0.5


@pytest.mark.parametrize("move", [storage.moved_by_sums, storage.moved_by_bits])
def test_both_ways_to_bfloat16_reach_a_neighbour_and_are_right_on_average(move):
    """The one for CPUs and the one for GPUs, both run here."""
    rows = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    rows[0, :4] = torch.tensor([1e30, -1e30, 1e-30, 0.0])
    keys = 2000
    values = torch.stack([move(rows, noise(8, 64, key)) for key in range(keys)])
    assert torch.equal(values, values.bfloat16().float())
    step = grid(torch.bfloat16, rows.double()).clamp_min(1e-300)
    assert ((values.double() - rows).abs() <= 1.001 * step).all()
    error = (values.double().mean(0) - rows) / step
    assert error.abs().max() < 5 * 0.5 / keys**0.5
    assert abs(error.mean()) < 5 * 0.5 / (keys * rows.numel()) ** 0.5
    assert torch.equal(move(values[0], noise(8, 64, 1)), values[0])  # what bfloat16 can hold stays


def test_many_small_updates_add_up_in_bfloat16():
    """1 + 10,000 · 1e-4 is 2; rounding to nearest would stay at 1, whose neighbour lies 0.0078 off."""
    values = stored_as(torch.bfloat16, torch.ones(64, 32))
    for key in range(10_000):
        moved = storage.read(values, None, torch.float32) + 1e-4
        storage.write(values, None, moved, noise(64, 32, key))
    assert values.values.float().mean().item() == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("dtype", NARROW)
def test_zero_is_exact_and_what_is_not_finite_stays_so(dtype):
    rows = torch.zeros(3, 64)
    assert storage.read(stored_as(dtype, rows), None, torch.float32).eq(0).all()
    rows[0, 3], rows[1, 5] = torch.nan, torch.inf
    values = storage.read(stored_as(dtype, rows), None, torch.float32)
    assert not values[0].isfinite().all()
    assert not values[1].isfinite().all()
    assert values[2].eq(0).all()


def test_what_bfloat16_can_hold_is_exact():
    rows = torch.randn(5, 33, generator=torch.Generator().manual_seed(1))
    rows[0, :4] = torch.tensor([3e38, -3e38, 1.0, -0.25])
    rows = rows.bfloat16().float()
    for key in range(20):
        assert torch.equal(stored_as(torch.bfloat16, rows, key).values.float(), rows)


@pytest.mark.parametrize("size", [1, 8, 257, 500, 512, 1024])
def test_any_size_has_blocks(size):
    block = storage.block_size(size)
    assert size % block == 0
    rows = torch.randn(4, size, generator=torch.Generator().manual_seed(2))
    values = storage.read(stored_as(torch.int8, rows), None, torch.float64)
    assert ((values - rows).abs() <= 1.001 * grid(torch.int8, rows.double())).all()


def test_the_noise_is_uniform_and_differs_by_row_column_and_key():
    bits = storage.uniform(storage.seeds(torch.arange(500), 400, 7))
    for each in bits:
        assert each is not None
        assert each.min() >= -32768
        assert each.max() <= 32767
        assert abs(each.double().mean()) < 5 * 65536 / (12 * each.numel()) ** 0.5 + 0.5
        counts = torch.bincount((each.flatten() + 32768) // 4096, minlength=16).double()
        assert ((counts - each.numel() / 16).abs() < 6 * (each.numel() / 16) ** 0.5).all()
    first, second = (each.double() for each in bits if each is not None)
    others = [second, first.roll(1, 0), first.roll(1, 1), noise(500, 400, 8).double()]
    for other in others:
        correlation = torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 5 / first.numel() ** 0.5


def test_a_class_has_its_noise_whatever_the_chunk():
    whole, _ = storage.uniform(storage.seeds(torch.arange(100), 16, 3))
    some, _ = storage.uniform(storage.seeds(torch.tensor([40, 7, 99]), 16, 3))
    assert whole is not None
    assert torch.equal(some, whole[[40, 7, 99]])


@functools.cache
def train(weight_dtype: torch.dtype, momentum_dtype: torch.dtype | None, **options: Any) -> Tensor:
    """200 steps at a third of the rows, many rows waiting long; the rows at the end, as unit rows."""
    head = partialfc.PartialFC(
        64, 90, margin=partialfc.ArcFace(scale=16.0), sample_rate=0.3, weight_dtype=weight_dtype, seed=1
    )
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        head.weight.copy_(torch.randn(90, 64, generator=generator))
    optimizer = partialfc.RowSGD(
        head, lr=0.5, momentum=0.9, weight_decay=1e-3, momentum_dtype=momentum_dtype, **options
    )
    centres = torch.randn(30, 64, generator=generator)
    for _ in range(200):
        labels = torch.randint(30, (32,), generator=generator)
        x = centres[labels] + torch.randn(32, 64, generator=generator)
        head(x.requires_grad_(), labels).backward()
        optimizer.step()
    optimizer.flush()
    return copy.deepcopy(head.weight.detach().double())


@pytest.mark.parametrize(
    ("weight_dtype", "momentum_dtype", "tolerance"),
    [
        (torch.float32, torch.bfloat16, 0.01),
        (torch.float32, torch.int8, 0.02),
        (torch.bfloat16, None, 0.03),
        (torch.bfloat16, torch.int8, 0.03),
    ],
)
@pytest.mark.parametrize("unsampled", ["dense", "frozen"])
def test_narrow_rows_follow_float32_over_hundreds_of_steps(
    weight_dtype, momentum_dtype, tolerance, unsampled
):
    plain = train(torch.float32, None, unsampled=unsampled)
    narrow = train(weight_dtype, momentum_dtype, unsampled=unsampled)
    assert (narrow - plain).norm() / plain.norm() < tolerance


def test_the_momentum_dtype_is_checked():
    head = partialfc.PartialFC(8, 10, margin=partialfc.ArcFace())
    with pytest.raises(ValueError, match=r"momentum_dtype is torch.int16; it must be one of"):
        partialfc.RowSGD(head, lr=0.1, momentum_dtype=torch.int16)
    with pytest.raises(ValueError, match=r"gather_dtype is torch.float32; it must be one of None, torch"):
        partialfc.PartialFC(8, 10, margin=partialfc.ArcFace(), gather_dtype=torch.float32)


def test_the_state_of_eight_bits_is_saved_and_loaded():
    def build() -> tuple[partialfc.PartialFC, partialfc.RowSGD]:
        head = partialfc.PartialFC(32, 20, margin=partialfc.ArcFace(), weight_dtype=torch.bfloat16)
        return head, partialfc.RowSGD(head, lr=0.1, momentum=0.9, momentum_dtype=torch.int8)

    def step(head: partialfc.PartialFC, optimizer: partialfc.RowSGD) -> None:
        head(torch.ones(4, 32).requires_grad_(), torch.arange(4)).backward()
        optimizer.step()

    head, optimizer = build()
    step(head, optimizer)
    other, its_optimizer = build()
    other.load_state_dict(head.state_dict())
    its_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert set(optimizer.row_state) == {"momentum", "momentum_scale", "row_step"}
    step(head, optimizer)
    step(other, its_optimizer)
    assert torch.equal(head.weight, other.weight)
    assert torch.equal(optimizer.row_state["momentum"], its_optimizer.row_state["momentum"])


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16], ids=str)
def test_the_scales_are_float32_whatever_torch_makes_by_default(default):
    torch.set_default_dtype(default)
    try:
        scales = storage.zeros(3, 64, torch.int8, torch.device("cpu")).scales
    finally:
        torch.set_default_dtype(torch.float32)
    assert scales is not None
    assert scales.dtype == torch.float32
