"""Inductor's code compiled by Triton and ptxas for a named architecture, with what ptxas says of it."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.absent_gpu.generate import Code

KERNEL = re.compile(r"^\w+ = async_compile\.triton\('(\w+)', '''\n(.*?)''', device_str='cuda'\)", re.M | re.S)
LAUNCH = re.compile(r"^ +(?:\w+\.run\(|extern_kernels\.|torch\.ops\.(?!aten\.\w+\.default$))", re.M)


@dataclass(frozen=True, slots=True)
class Built:
    """A kernel of the code. spilled: bytes of registers that each thread keeps in local memory, at the worst.

    wide: whether elements are counted in 64 bits.
    """

    name: str
    registers: int
    spilled: int
    wide: bool


def kernels(code: Code) -> list[tuple[str, str]]:
    """Name and source of each Triton kernel."""
    return KERNEL.findall(code.source)


def launches(code: Code) -> int:
    """What one call of the code launches: Triton kernels, and operations of torch's."""
    body = code.source.partition("    def call(self, args):")[2]
    return len(LAUNCH.findall(body.partition("runner = Runner")[0]))


def build(code: Code) -> list[Built]:
    """Each kernel, in every configuration that Inductor would try."""
    from torch._inductor.codecache import PyCodeCache

    built = []
    for name, source in kernels(code):
        tuner = getattr(PyCodeCache.load(source), name)
        found = [_figures(tuner, config) for config in tuner.configs]
        types = str(tuner.triton_meta["signature"])
        built.append(
            Built(
                name=name,
                registers=max(registers for registers, _ in found),
                spilled=max(spilled for _, spilled in found),
                wide="'xnumel': 'i64'" in types,
            )
        )
    return built


def _figures(tuner: Any, config: Any) -> tuple[int, int]:
    """Registers of a thread and bytes spilled."""
    from triton.backends.nvidia.compiler import get_ptxas  # Triton has several, by capability
    from triton.runtime import driver

    ptxas = get_ptxas(driver.active.get_current_target().arch).path
    ptx = _compiled(tuner, config).asm["ptx"]
    target = re.search(r"^\.target (\w+)", ptx, re.M)
    assert target is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        said = subprocess.run(
            [ptxas, "-v", f"--gpu-name={target[1]}", "-o", "/dev/null", str(path)],
            capture_output=True,
            text=True,
            check=True,
        ).stderr
    registers = re.search(r"Used (\d+) registers", said)
    spilled = re.search(r"(\d+) bytes spill stores", said)
    assert registers is not None
    return int(registers[1]), int(spilled[1]) if spilled else 0


def _compiled(tuner: Any, config: Any) -> Any:
    """What triton.compile makes of a configuration."""
    import triton

    made: list[Any] = []
    real = triton.compile

    def keep(*arguments: Any, **options: Any) -> Any:
        made.append(real(*arguments, **options))
        return made[-1]

    with mock.patch.object(triton, "compile", keep):
        tuner._precompile_config(config)
    return made[0]
