"""The least time that a step of the head can take, from its matrix products and the bytes that it moves."""

from dataclasses import dataclass

from partialfc.plan.memory import centre_bytes, kept_rows_of, moment_bytes
from partialfc.plan.setting import Setting


@dataclass(frozen=True, slots=True)
class Floor:
    """Floating-point operations and bytes of one rank's step, and the seconds of each; no communication."""

    flops: int
    bytes: int
    gemm_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        return self.gemm_seconds + self.memory_seconds


def floor_of(setting: Setting, *, gemm_rate: float, memory_bandwidth: float) -> Floor:
    """The floor at `gemm_rate` floating-point operations and `memory_bandwidth` bytes a second.

    There are four products of 2·N·K·D operations: cosines and pull in pass 1, cosines and the centres'
    gradient in pass 2. Rows whose exponentials were kept need only three. Where classes have several centres
    each of them counts. Pass 1 reads K rows, together with their momentum where they may owe steps. Pass 2
    reads and writes rows and moments. Kept exponentials are written once and read once.
    """
    samples, size = setting.lines, setting.embedding
    kept = kept_rows_of(setting)
    passes = setting.accumulation * setting.rows
    flops = 2 * samples * size * (4 * passes - kept)
    row = centre_bytes(setting, 1)
    moments = moment_bytes(setting, 1)
    owes = setting.lazy and setting.sampled
    moved = passes * (row + moments * owes) + 2 * setting.step_rows * (row + moments)
    moved += 2 * kept * samples * setting.compute_bytes
    return Floor(flops, moved, flops / gemm_rate, moved / memory_bandwidth)
