"""The least time that a step of the head can take: its matrix products, and the bytes that it must move."""

from dataclasses import dataclass

from partialfc.plan.memory import kept_rows, moment_bytes
from partialfc.plan.setting import Setting


@dataclass(frozen=True, slots=True)
class Floor:
    """flops and bytes of one rank's step, and their times one after the other, without communication."""

    flops: int
    bytes: int
    gemm_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        return self.gemm_seconds + self.memory_seconds


def floor_of(setting: Setting, *, gemm_rate: float, memory_bandwidth: float) -> Floor:
    """At `gemm_rate` floating-point operations and `memory_bandwidth` bytes a second.

    Four products of 2·N·K·D each: cosines and pull in pass 1, cosines and the centres' gradient in pass 2;
    three for rows whose exponentials were kept. Pass 1 reads K rows, with their momentum where they may owe
    steps; pass 2 reads and writes rows and moments; kept exponentials are written and read once.
    """
    samples, size = setting.samples, setting.embedding
    kept = kept_rows(setting)
    passes = setting.accumulation * setting.rows
    flops = 2 * samples * size * (4 * passes - kept)
    row = size * setting.weight_bytes
    moments = moment_bytes(setting, 1)
    owes = setting.lazy and setting.sampled
    moved = passes * (row + moments * owes) + 2 * setting.step_rows * (row + moments)
    moved += 2 * kept * samples * setting.compute_bytes
    return Floor(flops, moved, flops / gemm_rate, moved / memory_bandwidth)
