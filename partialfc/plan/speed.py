"""How fast a machine is: as the user says, else by assumptions, which are named as such."""

from dataclasses import dataclass

from partialfc.errors import ConfigError
from partialfc.plan.setting import Setting

# Reached in practice, not on the data sheet: large matrix products and long copies on a GPU like an H100.
GPU_GEMM = {"bfloat16": 300e12, "float32": 40e12, "float64": 40e12}
GPU_MEMORY = 2.5e12
GPU_LINK = 100e9  # bytes a second from a GPU to others; a network of 400 Gbit/s per GPU gives half of it
GPU_LATENCY = 20e-6
# About what the floors of benchmarks/head.csv reach on 2 cores of a Xeon with AMX, copies included. float64
# is taken as half of float32; link and latency are round figures for ranks on one machine.
CPU_GEMM = {"bfloat16": 0.6e12, "float32": 0.16e12, "float64": 0.08e12}
CPU_MEMORY = 18e9
CPU_LINK = 1e9
CPU_LATENCY = 100e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The speed of a rank.

    gemm_rate: floating-point operations a second in matrix products. memory_bandwidth, bandwidth: bytes a
    second from memory, and to other ranks. latency: seconds that any collective takes, whatever its size.
    host_bandwidth, host_latency: the same of collectives between CPUs, which GPUs' ranks have too; on CPUs
    there are no others. assumed: the names of those that nobody gave.
    """

    gemm_rate: float
    memory_bandwidth: float
    bandwidth: float
    latency: float
    host_bandwidth: float
    host_latency: float
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("gemm_rate", "memory_bandwidth", "bandwidth", "host_bandwidth"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be a finite number above 0")
        for name in ("latency", "host_latency"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                value = getattr(self, name)
                raise ConfigError(f"{name} is {value!r}; it must be a finite number of at least 0")

    @staticmethod
    def of(setting: Setting, **given: float | None) -> "Speed":
        """What was given, by the name of the field; assumptions for whatever is None or missing."""
        gpu = setting.device == "cuda"
        usual = {
            "gemm_rate": (GPU_GEMM if gpu else CPU_GEMM)[setting.compute_dtype],
            "memory_bandwidth": GPU_MEMORY if gpu else CPU_MEMORY,
            "bandwidth": GPU_LINK if gpu else CPU_LINK,
            "latency": GPU_LATENCY if gpu else CPU_LATENCY,
        }
        known = {name: value for name, value in given.items() if value is not None}
        either = usual | known
        usual["host_bandwidth"] = CPU_LINK if gpu else either["bandwidth"]
        usual["host_latency"] = CPU_LATENCY if gpu else either["latency"]
        return Speed(**{**usual, **known}, assumed=tuple(name for name in usual if name not in known))
