"""The device that tests marked `gpu` run on: CUDA, unless PARTIALFC_TEST_DEVICE names another.

With "cpu" or "pretend" they run on a machine without a GPU, which tests the tests (tests/test_gpu_marked.py).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

DEVICE = os.environ.get("PARTIALFC_TEST_DEVICE", "cuda")
CPU = torch.device("cpu")

on_cuda_alone = pytest.mark.skipif(DEVICE != "cuda", reason="about CUDA itself")
on_real_devices_alone = pytest.mark.skipif(DEVICE == "pretend", reason="more than the pretend one can")
on_accelerators_alone = pytest.mark.skipif(DEVICE == "cpu", reason="a CPU has no memory of its own")


def lacking() -> str | None:
    """Why tests marked `gpu` cannot run, if they cannot."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        return "no CUDA device on this machine"
    return None


def the_device() -> torch.device:
    return CPU if DEVICE == "cpu" else torch.device(DEVICE, 0)


@contextmanager
def never_waiting() -> Iterator[None]:
    """Around steps in which the program must not wait for the device: where it does, an error."""
    if DEVICE == "cuda":
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
    elif DEVICE == "pretend":
        from tests.pretend.machine import machine

        before = len(machine.log.faults)
        yield
        assert [str(fault) for fault in machine.log.faults[before:]] == []
    else:
        yield


def install() -> None:
    """Make the device known to torch: once, before the package is imported."""
    if DEVICE == "pretend":
        from tests.pretend.device import install as install_pretend

        install_pretend()
