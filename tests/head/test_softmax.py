"""The pull on the embeddings: what is lost where products run in bfloat16."""

import torch

from partialfc.head.softmax import add_pull

CHUNKS, ROWS, SAMPLES, SIZE = 40, 300, 12, 16


def pull_error(device: str) -> float:
    """The largest error of the pull over CHUNKS chunks, in units of its largest element."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(SAMPLES, SIZE, device=device)
    true = torch.zeros(SAMPLES, SIZE, dtype=torch.float64)
    for _ in range(CHUNKS):
        weighted = torch.rand(ROWS, SAMPLES, generator=generator).bfloat16()
        centres = (0.5 + torch.randn(ROWS, SIZE, generator=generator)).bfloat16()
        add_pull(total, weighted.to(device), centres.to(device))
        true += weighted.double().T @ centres.double()
    return ((total.cpu() - true).abs().max() / true.abs().max()).item()


def test_a_chunks_pull_is_rounded_to_bfloat16_once_on_a_cpu():
    """Half of bfloat16's last place is 2^-8 of a chunk's result; the sum over the chunks is not rounded."""
    assert 1e-5 < pull_error("cpu") < 2.0**-8
