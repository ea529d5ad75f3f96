"""Makes torch and Triton believe in a CUDA GPU of a named architecture, which is not there.

So that Inductor writes code for it, and Triton compiles that code; neither needs a device for it, but they
ask it for its properties. For a process of its own: nothing is put back.
"""

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

# By compute capability: multiprocessors of the card of a data centre, an A100 and an H100.
ARCHITECTURES = {80: 108, 90: 132}


def pretend_capability(capability: int) -> None:
    """From now on device 0 is a CUDA GPU of that compute capability, 90 for 9.0."""
    from torch._dynamo import device_interface
    from torch._inductor.runtime import triton_helpers
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    major, minor = divmod(capability, 10)
    properties = SimpleNamespace(
        name="absent",
        major=major,
        minor=minor,
        multi_processor_count=ARCHITECTURES[capability],
        regs_per_multiprocessor=65536,
        max_threads_per_multi_processor=2048,
        max_threads_per_block=1024,
        warp_size=32,
        total_memory=80 << 30,
        L2_cache_size=40 << 20,
        gcnArchName="",
    )

    class Interface(device_interface.CudaInterface):
        class Worker(device_interface.CudaInterface.Worker):
            @staticmethod
            def current_device() -> int:
                return 0

            @staticmethod
            def get_device_properties(device: Any = None) -> Any:
                return properties

        @staticmethod
        def is_available() -> bool:
            return True

        @staticmethod
        def current_device() -> int:
            return 0

        @staticmethod
        def device_count() -> int:
            return 1

        @staticmethod
        def get_device_properties(device: Any = None) -> Any:
            return properties

        @staticmethod
        def get_compute_capability(device: Any = None) -> int:
            return capability

        @staticmethod
        def is_triton_capable(device: Any = None) -> bool:
            return True

        @staticmethod
        def is_bf16_supported(including_emulation: bool = False) -> bool:
            return True

        @staticmethod
        def raise_if_triton_unavailable(device: Any = None) -> None:
            pass

        @staticmethod
        def synchronize(device: Any = None) -> None:
            pass

    device_interface.init_device_reg()
    for name in ("cuda", "cuda:0"):
        device_interface.register_interface_for_device(name, Interface)
    torch.cuda.get_device_properties = lambda device=None: properties  # type: ignore[assignment, misc]
    torch.cuda.get_device_capability = lambda device=None: (major, minor)
    driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: GPUTarget("cuda", capability, 32),
            get_current_device=lambda: 0,
            get_active_torch_device=lambda: torch.device("cuda", 0),
        )
    )
    triton_helpers.set_driver_to_gpu = lambda: None
    _register_guard()


def _register_guard() -> None:
    """torch's builds for CPUs have no guard for CUDA devices, which indexing a fake tensor asks for."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * 21).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    cuda, meta = 1, 14  # c10::DeviceType
    if not guards[cuda]:
        guards[cuda] = guards[meta]  # it does nothing
