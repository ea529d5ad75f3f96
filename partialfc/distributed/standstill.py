"""Whether an accelerator gets on with what it was told, seen from a thread beside the program."""

import threading
from queue import SimpleQueue

import torch

CLOSING_SECONDS = 1.0


class Standstill:
    """Looks at the device's default stream, on which the program computes and waits for collectives.

    A look is a number that goes through the device into pinned memory, where it is read without asking the
    device's driver. A thread of its own sends it: a device whose queue is full takes nothing more, from
    whatever thread. Python goes on meanwhile, which it would not with torch.Event's `record` and `query`: in
    these a thread keeps the interpreter to itself.
    """

    def __init__(self, device: torch.device) -> None:
        """Of a thread of its own: it chooses the thread's device."""
        torch.accelerator.set_device_index(device)
        self._device = device
        self._asked = 0
        self._arrived = torch.zeros((), dtype=torch.int64).pin_memory()
        self._looks: SimpleQueue[int | None] = SimpleQueue()
        self._error: RuntimeError | None = None
        self._sender = threading.Thread(target=self._send, name="looks at the device", daemon=True)
        self._sender.start()

    def lasts(self) -> bool:
        """Whether the device has not yet done what it had been told at the last call that said False.

        Returns at once. Raises the device's own error.
        """
        if self._error is not None:
            raise self._error
        if int(self._arrived) != self._asked:
            return True
        self._asked += 1
        self._looks.put(self._asked)
        return False

    def close(self) -> None:
        """The last call."""
        self._looks.put(None)
        self._sender.join(CLOSING_SECONDS)

    def _send(self) -> None:
        try:
            torch.accelerator.set_device_index(self._device)
            look = torch.zeros((), dtype=torch.int64, device=self._device)
            while (number := self._looks.get()) is not None:
                self._arrived.copy_(look.fill_(number), non_blocking=True)
        except RuntimeError as error:
            self._error = error
