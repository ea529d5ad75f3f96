"""Whether an accelerator gets on with what it was told, seen from a thread beside the program."""

import torch


class Standstill:
    """A look at the device's default stream, on which the program computes and waits for collectives.

    Of a thread of its own: it chooses the thread's device.
    """

    def __init__(self, device: torch.device) -> None:
        torch.accelerator.set_device_index(device)
        self._device = device
        self._point = torch.Event(device)  # one for all looks: CUDA's are not always destroyed without a wait

    def lasts(self) -> bool:
        """Whether the device has not yet done what it had been told at the last call that said False."""
        if not self._point.query():
            return True
        self._point.record(torch.accelerator.current_stream(self._device))
        return False
