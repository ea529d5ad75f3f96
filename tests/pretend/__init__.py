"""A pretend accelerator: its tensors say `pretend:0`, compute on the CPU, and a log says what a GPU would do.

torch serves its PrivateUse1 key from Python; `install` registers the device in a process of its own, because
that cannot be taken back. `tests/conftest.py` has the fixture `on_pretend`, which runs functions there.

    device.py    what torch asks of a device; `install`
    tensor.py    the wrapper tensor
    dispatch.py  what an operation on it does
    rules.py     what is wrong with an operation: it waits, it blocks, it mixes devices
    pinned.py    pinned memory, and copies that arrive late
    streams.py   streams and events, and the order that they promise
    collectives.py  collectives between processes that each have it
    autocast.py  torch.autocast
    memory.py    pieces of the device's memory, their addresses, how much is allocated
    cache.py     a last-level cache in front of that memory
    cost.py      what an operation reads, writes and multiplies
    fused.py     in place of torch.compile: a function that counts as one launch
    command.py   `partialfc` on a machine that has the device
    log.py       every operation with phase and line, and every fault

What it does not show: speed, numbers of another arithmetic than a CPU's, and what a compiler really makes of
a kernel.
"""
