"""How far a step is from float64: loss, embedding gradient and moved rows, by compute and storage type.

    python benchmarks/exactness.py --output benchmarks/exactness.csv

The truth is dense logits, F.cross_entropy and autograd in float64 on the same numbers. Embeddings lie near
their classes' centres (target cosine about 0.5), as in the middle of a training. Errors of gradients and of
the rows' change are relative: the norm of the difference over the norm of the truth.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from table import surroundings, write
from torch import Tensor
from work import name_of

import partialfc

CLASSES, SIZE, SAMPLES, SCALE, MARGIN, LR = 20_000, 512, 256, 64.0, 0.5, 0.1
WAYS = [
    # compute, storage of the centres, compiled
    (torch.float64, torch.float64, False),
    (torch.float32, torch.float32, False),
    (torch.float32, torch.float32, True),
    (torch.bfloat16, torch.float32, True),
    (torch.float32, torch.bfloat16, True),
    (torch.bfloat16, torch.bfloat16, True),
]


def batch(centres: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    noise = torch.randn(SAMPLES, SIZE, generator=generator, dtype=torch.float64)
    return F.normalize(centres[labels]) + 1.7 * F.normalize(noise), labels


def truth(centres: Tensor, embeddings: Tensor, labels: Tensor) -> tuple[float, Tensor, Tensor]:
    """The loss, its gradient by the embeddings [N, D], and by the centres [C, D]."""
    centres, embeddings = centres.clone().requires_grad_(), embeddings.clone().requires_grad_()
    cos = F.normalize(embeddings) @ F.normalize(centres).T
    target = torch.cos(torch.acos(cos.gather(1, labels[:, None])) + MARGIN)
    loss = F.cross_entropy(SCALE * cos.scatter(1, labels[:, None], target), labels)
    loss.backward()
    assert centres.grad is not None
    assert embeddings.grad is not None
    return loss.item(), embeddings.grad, centres.grad


def distance(value: Tensor, true: Tensor) -> float:
    return ((value.double() - true).norm() / true.norm()).item()


def measure(compute: torch.dtype, storage: torch.dtype, compiled: bool) -> dict[str, object]:
    head = partialfc.PartialFC(
        SIZE,
        CLASSES,
        margin=partialfc.ArcFace(scale=SCALE, margin=MARGIN),
        weight_dtype=storage,
        compute_dtype=compute,
        compile=compiled,
    )
    optimizer = partialfc.RowSGD(head, lr=LR)
    before = head.weight.detach().to(torch.float64, copy=True)
    embeddings, labels = batch(before, seed=1)
    own = embeddings.to(torch.float64 if compute == torch.float64 else torch.float32).requires_grad_()
    loss = head(own, labels)
    loss.backward()
    optimizer.step()
    true_loss, by_embeddings, by_centres = truth(before, own.detach().double(), labels)
    assert own.grad is not None
    return {
        "compute": name_of(compute),
        "storage": name_of(storage),
        "compiled": compiled,
        "loss": f"{true_loss:.6f}",
        "loss_error": f"{abs(loss.item() - true_loss):.1e}",
        "embedding_gradient_error": f"{distance(own.grad, by_embeddings):.1e}",
        "rows_error": f"{distance(head.weight.detach().double() - before, -LR * by_centres):.1e}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = [measure(*way) for way in WAYS]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if options.output:
        write(options.output, [row | surroundings() for row in rows])


if __name__ == "__main__":
    main()
