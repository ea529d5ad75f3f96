"""How rows lie in memory: as floats, in bfloat16, or in 8 bits with a scale for each block of a row.

Pure functions of tensors, which run eagerly, or inside torch.compile as part of the kernel that calls them.
bfloat16 and int8 round stochastically: up or down with the odds that keep the value right on average, so
that many small updates are not lost. The noise is a hash of (key, class, column): the same however rows are
chunked, at any world size, eager or compiled. Stochastic rounding: Gupta et al. 2015 (arXiv:1502.02551);
block-wise 8-bit optimizer state: Dettmers et al. 2022 (arXiv:2110.02861).
"""

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 512  # elements that share a scale, at most
SMALLEST_BLOCK = 32
LARGEST = 127
# Far below any momentum; keeps the inverse of a scale finite.
SMALLEST_SCALE = 2.0**-100
# Larger numbers are rounded without noise, which could carry them past the largest float32, to infinity.
LARGEST_ROUNDED = 2.0**100


class Stored(NamedTuple):
    """Rows as they lie in memory: values [C_l, D]; scales [C_l, D / block] float32 for int8, else None."""

    values: Tensor
    scales: Tensor | None = None


def column(values: Tensor) -> Stored:
    """One number for each row [C_l], such as a bias, as rows [C_l, 1] in the same memory."""
    return Stored(values.detach().unsqueeze(1))


def block_size(size: int) -> int:
    """The largest divisor of D up to BLOCK; the whole row where that would be tiny."""
    block = next(b for b in range(min(BLOCK, size), 0, -1) if size % b == 0)
    return block if block >= SMALLEST_BLOCK else size


def zeros(num_rows: int, size: int, dtype: torch.dtype, device: torch.device) -> Stored:
    """Rows [num_rows, D] of zeros."""
    values = torch.zeros(num_rows, size, dtype=dtype, device=device)
    if dtype != torch.int8:
        return Stored(values)
    scales = torch.zeros(num_rows, size // block_size(size), dtype=torch.float32, device=device)
    return Stored(values, scales)


def read(stored: Stored, index: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Rows index [k] (None: all of them) -> [k, D] in a floating `dtype`."""
    values, scales = stored
    if index is not None:
        values, scales = values[index], None if scales is None else scales[index]
    values = values.to(dtype)
    return values if scales is None else values * _spread(scales.to(dtype), values.shape[1])


def write(
    stored: Stored,
    index: Tensor | None,
    rows: Tensor,
    noise: Tensor | None,
    *,
    applies: Tensor | None = None,
    before: Stored | None = None,
) -> None:
    """Store rows [k, D] as rows index [k], each given once (None: all of them).

    noise: int32 [k, D], uniform in -32768..32767, for bfloat16 and int8. applies []: where False, everything
    stays bit for bit as it lies in `before`, which is `stored` by whatever handle; None: True.
    """
    values, scales = stored
    if values.dtype == torch.bfloat16:
        assert noise is not None
        rows = to_bfloat16(rows.float(), noise)
    elif values.dtype == torch.int8:
        assert noise is not None
        assert scales is not None
        rows, new_scales = to_int8(rows.float(), noise)
        _put(scales, index, new_scales, applies, None if before is None else before.scales)
    _put(values, index, rows, applies, None if before is None else before.values)


def is_rounded(stored: Stored | None) -> bool:
    """Whether `write` needs noise."""
    return stored is not None and stored.values.dtype in (torch.bfloat16, torch.int8)


def to_bfloat16(rows: Tensor, noise: Tensor) -> Tensor:
    """float32 [k, D] and noise [k, D] in -32768..32767 -> bfloat16 [k, D]: one of the two neighbours.

    A float32 has 16 bits more than a bfloat16, so noise in units of its last place spans one place of the
    bfloat16 that the sum is then rounded to.
    """
    moved = moved_by_sums(rows, noise) if rows.device.type == "cpu" else moved_by_bits(rows, noise)
    return torch.where(rows.abs() < LARGEST_ROUNDED, moved, rows).to(torch.bfloat16)


def moved_by_sums(rows: Tensor, noise: Tensor) -> Tensor:
    """float32 [k, D] moved to a neighbour in bfloat16; for a CPU.

    The compiler does not vectorise a view of floats as integers, but it does vectorise these sums and
    products, and on a CPU fuses none of them. The first two find the distance to the next float32.
    """
    above = rows * (1.0 + 2.0**-23)
    last_place = above - above * (1.0 - 2.0**-24)
    # Around `far` the float32 numbers are as far apart as bfloat16 numbers are around the row's value.
    far = last_place * (1.5 * 2.0**39)
    return (rows + (noise | 1).to(torch.float32) * last_place + far) - far


def moved_by_bits(rows: Tensor, noise: Tensor) -> Tensor:
    """float32 [k, D] moved to a neighbour in bfloat16; for a GPU, whose compiler may fuse the sums above."""
    return ((rows.view(torch.int32) + (noise + 0x8000)) & -0x10000).view(torch.float32)


def to_int8(rows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """float32 [k, D] and noise [k, D] in -32768..32767 -> int8 [k, D] and scales [k, D / block].

    The largest element of a block becomes ±127. A block with a NaN or an infinity gets a NaN scale.
    """
    size = rows.shape[1]
    block = block_size(size)
    largest = rows.view(len(rows), size // block, block).abs().amax(2)
    scales = torch.where(largest <= SMALLEST_SCALE, 0.0, largest / LARGEST + (largest - largest))
    inverse = torch.where(scales == 0.0, 0.0, 1.0 / scales)
    steps = rows * _spread(inverse, size) + noise.to(torch.float32) * 2.0**-16
    return steps.round().clamp(-LARGEST, LARGEST).to(torch.int8), scales


class Noise(NamedTuple):
    """The seeds of the noise of a chunk, int32: one for each row [k] and one for each column [D]."""

    rows: Tensor
    columns: Tensor


def seeds(classes: Tensor, size: int, key: int) -> Noise:
    """The seeds of rows of D = size. classes [k]: their global class ids; key: another one in every step."""
    key = (key + (1 << 31)) % (1 << 32) - (1 << 31)
    columns = torch.arange(size, dtype=torch.int32, device=classes.device)
    return Noise(_mix(classes.to(torch.int32) + key), _mix(columns * -0x61C88647 + ~key))


def uniform(noise: Noise | None) -> tuple[Tensor | None, Tensor | None]:
    """Two independent int32 [k, D], uniform in -32768..32767: a hash of (key, row, column)."""
    if noise is None:
        return None, None
    bits = _mix(noise.rows[:, None] + noise.columns)
    return bits >> 16, (bits << 16) >> 16


def _mix(bits: Tensor) -> Tensor:
    """A bijection of int32 in which every bit depends on all (after lowbias32 of hash-prospector)."""
    bits = bits ^ ((bits >> 16) & 0xFFFF)
    bits = bits * 0x21F0AAAD
    bits = bits ^ ((bits >> 15) & 0x1FFFF)
    bits = bits * 0x735A2D97
    return bits ^ ((bits >> 15) & 0x1FFFF)


def _spread(scales: Tensor, size: int) -> Tensor:
    """One value for each block [k, D / block] -> one for each element [k, D]."""
    num_rows, num_blocks = scales.shape
    return scales[:, :, None].expand(num_rows, num_blocks, size // num_blocks).reshape(num_rows, size)


def _put(
    target: Tensor, index: Tensor | None, rows: Tensor, applies: Tensor | None, before: Tensor | None
) -> None:
    rows = rows.to(target.dtype)
    if applies is not None:
        assert before is not None
        rows = torch.where(applies, rows, before if index is None else before[index])
    if index is None:
        target.copy_(rows)
    else:
        target[index] = rows
