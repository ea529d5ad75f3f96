"""Runs of a row optimizer, and of the dense optimizers of torch beside it."""

import math
from typing import Any

import torch
from torch import Tensor

import partialfc
from partialfc.distributed import World
from partialfc.head.initial import normal_rows
from tests.head import reference

D, C, N = 8, 60, 12
SCALE = 16.0
SGD = {"lr": 0.5, "momentum": 0.9, "weight_decay": 5e-3}


def build(sample_rate: float, dtype: torch.dtype = torch.float64) -> partialfc.PartialFC:
    return partialfc.PartialFC(
        D,
        C,
        margin=partialfc.ArcFace(scale=SCALE, margin=0.3),
        sample_rate=sample_rate,
        weight_dtype=dtype,
        compute_dtype=dtype,
    )


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    # Labels of a third of the classes, so that some rows wait for long.
    return torch.randn(N, D, dtype=torch.float64, generator=generator), torch.randint(
        0, C // 3, (N,), generator=generator
    )


def learning_rate(step: int) -> float:
    """A warm-up of 30 steps, then a cosine to 0 at step 300, as a factor."""
    return (step + 1) / 30 if step < 30 else 0.5 * (1 + math.cos(math.pi * (step - 30) / 270))


def train(make: str, options: dict[str, Any], steps: int, sample_rate: float) -> dict[str, Any]:
    """On each rank: the losses, which classes took part in each step, and the flushed rows."""
    world = World.of()
    head = build(sample_rate)
    optimizer = getattr(partialfc, make)(head, **options)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate)
    share = N // world.size
    mine = slice(world.rank * share, (world.rank + 1) * share)
    losses, participating = [], []
    for step in range(steps):
        embeddings, labels = batch(step)
        loss = head(embeddings[mine].requires_grad_(), labels[mine])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        losses.append(loss.item())
        participating.append(head.last_sample + head.shard.start)
    optimizer.flush()
    state = {name: value.clone() for name, value in optimizer.row_state.items()}
    return {"losses": losses, "participating": participating, "weight": head.weight.detach(), "state": state}


def steps(head, optimizer, first, last):
    losses = []
    for step in range(first, last):
        embeddings, labels = batch(step)
        loss = head(embeddings.requires_grad_(), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def dense_run(results: list[dict[str, Any]], steps: int, step_rows: Any) -> tuple[list[float], Tensor]:
    """The dense reference: full gradients, zero for absent rows, moved by `step_rows`."""
    weight = normal_rows(0, C, D, seed=0, dtype=torch.float64).requires_grad_()
    move = step_rows(weight)
    losses = []
    for step in range(steps):
        participating = torch.cat([result["participating"][step] for result in results])
        embeddings, labels = batch(step)
        weight.grad = None
        loss = reference.dense_loss(
            embeddings,
            weight,
            labels,
            margin=reference.combined(1, 0.3, 0),
            scale=SCALE,
            participating=participating,
        )
        loss.backward()
        move(participating)
        losses.append(loss.item())
    return losses, weight.detach()


def per_row(make: Any, **options: Any) -> Any:
    """One torch optimizer a row, stepped only when the row takes part; the schedule counts every step."""

    def begin(weight: Tensor) -> Any:
        rows = [weight[i].detach().clone().requires_grad_() for i in range(len(weight))]
        optimizers = [make([row], **options) for row in rows]
        count = 0

        def move(participating: Tensor) -> None:
            nonlocal count
            for i in participating.tolist():
                optimizers[i].param_groups[0]["lr"] = options["lr"] * learning_rate(count)
                rows[i].grad = weight.grad[i].clone()
                optimizers[i].step()
                with torch.no_grad():
                    weight[i] = rows[i]
            count += 1

        return move

    return begin
