"""The time of steps and their phases."""

import pytest
import torch

from partialfc.metrics.step_clock import StepClock
from tests.devices import on_cuda_alone


class Times:
    def __init__(self) -> None:
        self.phases: list[tuple[str, float]] = []
        self.steps: list[tuple[float, float]] = []

    def phase_took(self, phase: str, seconds: float) -> None:
        self.phases.append((phase, seconds))

    def step_took(self, seconds: float, waited: float) -> None:
        self.steps.append((seconds, waited))


def test_a_phases_parts_in_a_step_are_one_time_and_what_raises_is_none():
    times = Times()
    clock = StepClock(torch.device("cpu"), times)
    with clock.step():
        for _ in range(2):
            with clock.phase("data_wait"):
                pass
            with clock.phase("backbone"):
                pass
    with clock.phase("checkpoint"):
        pass
    with pytest.raises(KeyError), clock.step(), clock.phase("backbone"):
        raise KeyError
    with clock.phase("verification"):
        pass
    assert [name for name, _ in times.phases] == ["data_wait", "backbone", "checkpoint", "verification"]
    ((seconds, waited),) = times.steps
    assert 0 < sum(took for _, took in times.phases[:2]) < seconds
    assert waited == 0


@pytest.mark.gpu
@on_cuda_alone
def test_a_gpus_time_is_read_later_and_without_waiting():
    device, times = torch.device("cuda", 0), Times()
    clock = StepClock(device, times)
    x = torch.randn(4096, 4096, device=device)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            with clock.step(), clock.phase("backbone"):
                for _ in range(20):
                    x = torch.mm(x, x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(times.steps) < 3  # the device is still at it
    clock.report_all()
    assert len(times.steps) == 3
    assert min(took for _, took in times.phases) > 0
