"""How fast a machine is: as the user says, else by assumptions, which are named as such."""

from dataclasses import dataclass

from partialfc.errors import ConfigError
from partialfc.plan.pool_setting import PoolSetting
from partialfc.plan.setting import Setting

# Reached in practice, not on the data sheet: large matrix products and long copies on a GPU like an H100.
GPU_GEMM = {"bfloat16": 300e12, "float32": 40e12, "float64": 40e12}
GPU_MEMORY = 2.5e12
GPU_LINK = 100e9  # bytes a second from a GPU to others of its node
GPU_NETWORK = 50e9  # to those of others: 400 Gbit/s for each GPU
GPU_LATENCY = 20e-6
GPU_HOP = 2e-6  # NCCL reckons 1.25 to 1.9 us a hop over NVLink, and 4 to 8.5 us over a network (LL128,
GPU_NETWORK_HOP = 5e-6  # src/graph/tuning.cc)
GPUS_PER_NODE = 8
# About what the floors of benchmarks/head.csv reach on 2 cores of a Xeon with AMX, copies included. float64
# is taken as half of float32; the link is a round figure. Two ranks there took 99 to 134 us for a small
# gather, which is one hop, and 178 to 208 us for a small all-reduce, two; a network adds some 10 us to a hop.
CPU_GEMM = {"bfloat16": 0.6e12, "float32": 0.16e12, "float64": 0.08e12}
CPU_MEMORY = 18e9
CPU_LINK = 1e9
CPU_LATENCY = 50e-6
CPU_HOP = 50e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The speed of a rank.

    gemm_rate: floating-point operations a second in matrix products. memory_bandwidth, bandwidth: bytes a
    second from memory, and to other ranks. latency: seconds that any collective takes, whatever its size and
    the number of ranks. hop, network_hop: seconds for each rank that a byte passes on its way, in a node of
    gpus_per_node and between nodes. host_bandwidth, host_latency, host_hop: the same of collectives between
    CPUs, which GPUs' ranks have too; on CPUs there are no others. assumed: the names of what nobody gave.
    """

    gemm_rate: float
    memory_bandwidth: float
    bandwidth: float
    latency: float
    hop: float
    network_hop: float
    host_bandwidth: float
    host_latency: float
    host_hop: float
    gpus_per_node: int = GPUS_PER_NODE
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("gemm_rate", "memory_bandwidth", "bandwidth", "host_bandwidth"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be a finite number above 0")
        for name in ("latency", "hop", "network_hop", "host_latency", "host_hop"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                value = getattr(self, name)
                raise ConfigError(f"{name} is {value!r}; it must be a finite number of at least 0")
        count = self.gpus_per_node
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"gpus_per_node is {count!r}; it must be a whole number of at least 1")

    @staticmethod
    def of(
        setting: Setting | PoolSetting, *, gpus_per_node: int | None = None, **given: float | None
    ) -> "Speed":
        """What was given, by the name of the field; assumptions for whatever is None or missing."""
        gpu = setting.device == "cuda"
        per_node = GPUS_PER_NODE if gpus_per_node is None else gpus_per_node
        link = GPU_LINK if setting.gpus <= per_node else GPU_NETWORK
        usual = {
            "gemm_rate": (GPU_GEMM if gpu else CPU_GEMM)[setting.compute_dtype],
            "memory_bandwidth": GPU_MEMORY if gpu else CPU_MEMORY,
            "bandwidth": link if gpu else CPU_LINK,
            "latency": GPU_LATENCY if gpu else CPU_LATENCY,
            "hop": GPU_HOP if gpu else CPU_HOP,
            "network_hop": GPU_NETWORK_HOP if gpu else CPU_HOP,
        }
        known = {name: value for name, value in given.items() if value is not None}
        either = usual | known
        usual["host_bandwidth"] = CPU_LINK if gpu else either["bandwidth"]
        usual["host_latency"] = CPU_LATENCY if gpu else either["latency"]
        usual["host_hop"] = CPU_HOP if gpu else either["hop"]
        assumed = tuple(name for name in usual if name not in known)
        return Speed(**{**usual, **known}, gpus_per_node=per_node, assumed=assumed)
