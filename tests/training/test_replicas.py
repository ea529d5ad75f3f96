"""The backbone on every rank."""

import torch

from partialfc.distributed import World
from partialfc.training.replicas import replicate


def last_timed_step(steps: int) -> int:
    """The last step in which DistributedDataParallel asked how long the step before took, which waits."""
    batch = torch.zeros(2, 3)
    parallel = replicate(torch.nn.Linear(3, 2), World.of(), batch, compile=False, amp=None)
    for _ in range(steps):
        parallel(batch).sum().backward()
    return int(parallel._get_ddp_logging_data()["iteration"])


def test_replicas_are_not_timed_for_ever(run_ranks):
    for last in run_ranks(last_timed_step, 2, 210):
        assert last <= 10
