"""Batches through a head with any margin, and through autograd on dense logits on one process."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import partialfc
from partialfc.distributed import World
from tests.head.cases import TOLERANCE, Case, D
from tests.head.margins.examples import negatives_of

Make = tuple[type[partialfc.Margin], dict[str, Any]]  # a margin's class, and its arguments


def built(make: Make) -> partialfc.Margin:
    """An argument that is itself a Make is a margin too."""
    kind, arguments = make
    return kind(**{name: built(v) if isinstance(v, tuple) else v for name, v in arguments.items()})


def run_batches(make: Make, cases: list[Case], steps_apart: bool = False) -> dict[str, Any]:
    """On each rank: the cases as micro-batches of one step of gradient descent, or as a step each."""
    world = World.of()
    head = partialfc.PartialFC(
        D,
        cases[0].num_classes,
        margin=built(make),
        sample_rate=cases[0].sample_rate,
        weight_dtype=torch.float64,
        compute_dtype=torch.float64,
        **cases[0].extra,
    )
    with torch.no_grad():
        head.weight.mul_(enlarged(head.margin))
        if head.bias is not None:
            head.bias.copy_(first_bias(cases[0])[head.shard.start : head.shard.stop])
    optimizer = partialfc.RowSGD(head, lr=1.0, unsampled="frozen")
    losses, gradients, participating, states = [], [], [], []
    for case in cases:
        embeddings, labels = case.batch()
        mine = case.own()
        x = embeddings[mine].requires_grad_()
        loss = head(x, labels[mine])
        loss.backward()
        assert x.grad is not None
        losses.append(loss.item())
        gradients.append(x.grad / world.size)
        participating.append(head.last_sample + head.shard.start)
        states.append({name: tensor.clone() for name, tensor in head.margin.state_dict().items()})
        if steps_apart:
            optimizer.step()
            optimizer.zero_grad()
    if not steps_apart:
        optimizer.step()
    return {
        "losses": losses,
        "gradients": gradients,
        "participating": participating,
        "states": states,
        "weight": head.weight.detach(),
        "bias": None if head.bias is None else head.bias.detach(),
    }


def enlarged(margin: partialfc.Margin) -> float:
    """What the first centres are multiplied by: their norms are 0.04, which is little where they count."""
    return 1.0 if margin.normalises_centres else 100.0


def first_bias(case: Case) -> Tensor:
    return torch.linspace(-0.5, 0.5, case.num_classes, dtype=torch.float64)


@dataclass
class Dense:
    """The same by autograd on logits [N, C]; margin: with the state after the batches before."""

    margin: partialfc.Margin
    weight: Tensor
    bias: Tensor
    class_margins: Tensor | None = None

    def loss(self, embeddings: Tensor, labels: Tensor, participating: Tensor, step: int) -> Tensor:
        margin, rows = self.margin, torch.arange(len(labels))
        cos = F.normalize(embeddings) @ F.normalize(self.weight).T
        norm, centre_norm = embeddings.norm(dim=1), self.weight.norm(dim=1)
        samples = partialfc.Samples(
            cos[rows, labels],
            norm,
            centre_norm=None if margin.normalises_centres else centre_norm[labels],
            class_margin=None if self.class_margins is None else self.class_margins[labels],
            classes=labels.numpy(),
            seed=0,
            step=step,
        )
        margin.update(replace(samples, cos=samples.cos.detach(), norm=norm.detach()))
        logits = negatives_of(margin, cos.T, samples).T
        if not margin.normalises_embeddings:
            logits = logits * norm[:, None]
        if not margin.normalises_centres:
            logits = logits * centre_norm
        logits = logits.index_put((rows, labels), margin.target(samples)) + self.bias
        absent = torch.ones(len(self.weight), dtype=torch.bool)
        absent[participating] = False
        loss = F.cross_entropy(logits.masked_fill(absent, -torch.inf), labels)
        penalty = margin.regulariser(samples)
        return loss if penalty is None else loss + penalty.mean()


def check_batches(
    make: Make, cases: list[Case], results: list[dict[str, Any]], steps_apart: bool = False
) -> None:
    """The ranks' results of `run_batches` against Dense, and their states against each other."""
    margin, class_margins = built(make), cases[0].extra.get("class_margins")
    weight = (cases[0].weight() * enlarged(margin)).requires_grad_()
    bias = first_bias(cases[0]).requires_grad_() if margin.bias else torch.zeros(cases[0].num_classes)
    moving = {"weight": weight, **({"bias": bias} if margin.bias else {})}
    of_classes = None if class_margins is None else torch.tensor(class_margins, dtype=torch.float64)
    dense = Dense(margin, weight, bias, of_classes)
    for i, case in enumerate(cases):
        embeddings, labels = case.batch()
        embeddings.requires_grad_()
        participating = torch.cat([result["participating"][i] for result in results])
        loss = dense.loss(embeddings, labels, participating, step=i)
        loss.backward()
        for result in results:
            assert result["losses"][i] == pytest.approx(loss.item(), abs=TOLERANCE, rel=TOLERANCE)
            assert result["states"][i].keys() == dense.margin.state_dict().keys()
            for name, tensor in dense.margin.state_dict().items():
                assert torch.equal(result["states"][i][name], results[0]["states"][i][name])
                torch.testing.assert_close(result["states"][i][name], tensor, atol=1e-12, rtol=1e-12)
        gradient = torch.cat([result["gradients"][i] for result in results])
        largest = max(1.0, embeddings.grad.abs().max().item())
        torch.testing.assert_close(gradient, embeddings.grad, atol=TOLERANCE * largest, rtol=0)
        if steps_apart:
            move(*moving.values())
    if not steps_apart:
        move(*moving.values())
    for name, expected in moving.items():
        moved = torch.cat([result[name] for result in results])
        largest = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(moved, expected.detach(), atol=10 * TOLERANCE * largest, rtol=0)


def move(*tensors: Tensor) -> None:
    """A step of gradient descent at rate 1."""
    for tensor in tensors:
        assert tensor.grad is not None
        with torch.no_grad():
            tensor -= tensor.grad
        tensor.grad = None
