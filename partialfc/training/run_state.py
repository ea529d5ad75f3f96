"""The state of a run at one step: everything that a resume needs, to a checkpoint and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from partialfc.backbones.weights.load import load_weights
from partialfc.checkpoint.tensors import Tensors
from partialfc.distributed.accelerator import is_accelerator
from partialfc.head.optim.base import RowOptimizer
from partialfc.head.partial_fc import PartialFC
from partialfc.losses.weighted import WeightedLosses
from partialfc.metrics.registry import Totals
from partialfc.training.loss_scale import LossScale


@dataclass
class RunState:
    """The objects that training changes, and its counters."""

    backbone: nn.Module
    optimizer: torch.optim.Optimizer
    head: PartialFC
    head_optimizer: RowOptimizer
    losses: WeightedLosses
    loss_scale: LossScale
    device: torch.device
    step: int = 0  # optimizer steps done, skipped ones included
    samples: int = 0  # position in the global stream of samples
    best: float | None = None  # best verification score so far
    nonfinite_steps: int = 0
    overflow_steps: int = 0  # skipped while float16's loss scale was found
    totals: list[Totals] = field(default_factory=list)  # every rank's counters, by rank

    @property
    def learning_rates(self) -> dict[str, float]:
        """The learning rates of the last step, by what they move: backbone, head."""
        optimizers = {"backbone": self.optimizer, "head": self.head_optimizer}
        return {name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()}

    def set_learning_rates(self, backbone: float, head: float) -> None:
        """Set the learning rates of the next step."""
        for optimizer, rate in ((self.optimizer, backbone), (self.head_optimizer, head)):
            for group in optimizer.param_groups:
                group["lr"] = rate

    def tensors(self) -> Tensors:
        """What a checkpoint holds in tensors: parameters, optimizer states, random generators."""
        replicated = {f"backbone/{name}": t for name, t in self.backbone.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            replicated |= {f"optimizer/{index}/{k}": v for k, v in state.items() if isinstance(v, Tensor)}
        replicated |= {f"margin/{name}": t for name, t in self.head.margin.state_dict().items()}
        shared = self.head_optimizer.shared_state
        replicated |= {f"head_optimizer/{k}": v for k, v in shared.items() if isinstance(v, Tensor)}
        private = {"rng_cpu": torch.get_rng_state()}
        if is_accelerator(self.device):
            of_device = torch.get_device_module(self.device)
            private[f"rng_{self.device.type}"] = of_device.get_rng_state(self.device)
        sharded = {name: parameter.detach() for name, parameter in self.head.named_parameters(recurse=False)}
        sharded |= {f"optimizer/{name}": t for name, t in self.head_optimizer.row_state.items()}
        sharded |= {f"losses/{name}": t for name, t in self.losses.sharded().items()}
        return Tensors(sharded, replicated, private)

    def values(self) -> dict[str, Any]:
        """What a checkpoint's state.json holds of it."""
        shared = self.head_optimizer.shared_state
        return {
            "step": self.step,
            "samples": self.samples,
            "best": self.best,
            "nonfinite_steps": self.nonfinite_steps,
            "overflow_steps": self.overflow_steps,
            "loss_scale": self.loss_scale.state(),
            "metrics": self.totals,
            "head_step": self.head.step,
            "head_optimizer": {k: v for k, v in shared.items() if not isinstance(v, Tensor)},
        }

    def restore(self, values: Mapping[str, Any], tensors: Tensors, *, backbone: str) -> None:
        """Become what `values` and `tensors` gave; the sharded tensors have been loaded in place already.

        backbone: its name, for messages. Raises CheckpointError where its weights are of another network.
        """
        replicated = _by_prefix(tensors.replicated)
        size = self.head.embedding_size
        load_weights(self.backbone, replicated["backbone"], name=backbone, embedding_size=size)
        self.head.margin.load_state_dict(replicated.get("margin", {}))
        self._restore_optimizer(replicated.get("optimizer", {}))
        shared = {**values["head_optimizer"], **replicated.get("head_optimizer", {})}
        _check_owed(shared, self.head_optimizer.row_state)
        self.head_optimizer.load_shared_state(shared)
        if "rng_cpu" in tensors.private:
            torch.set_rng_state(tensors.private["rng_cpu"])
        if (name := f"rng_{self.device.type}") in tensors.private and is_accelerator(self.device):
            torch.get_device_module(self.device).set_rng_state(tensors.private[name], self.device)
        self.step, self.samples = _count(values, "step"), _count(values, "samples")
        self.best = None if values["best"] is None else float(values["best"])
        self.nonfinite_steps = _count(values, "nonfinite_steps")
        # Checkpoints of version 0.1 have none of these.
        self.overflow_steps = _count({"overflow_steps": 0, **values}, "overflow_steps")
        self.loss_scale.restore(values.get("loss_scale"))
        self.totals = values.get("metrics", [])
        self.head.step = _count(values, "head_step")

    def _restore_optimizer(self, flat: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for key, tensor in flat.items():
            index, _, name = key.partition("/")
            state.setdefault(int(index), {})[name] = _in_order_of(parameters[int(index)], tensor)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _in_order_of(parameter: Tensor, saved: Tensor) -> Tensor:
    """A parameter's momentum or the like in its memory order, which fused kernels take for granted.

    The run that saved it may have had another `backbone.channels_last`.
    """
    if saved.shape != parameter.shape:
        return saved
    return torch.empty_like(parameter, dtype=saved.dtype, device=saved.device).copy_(saved)


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError(f"{name} is {value!r}")
    return value


def _check_owed(shared: Mapping[str, Any], row_state: Mapping[str, Tensor]) -> None:
    """ValueError where the rows' own steps are not in the table of what is owed since then, see RowSGD."""
    steps = row_state.get("row_step")
    if steps is not None and len(steps):
        start = _count(shared, "owed_from")
        if int(steps.min()) < start or int(steps.max()) >= start + len(shared["owed"]):
            raise ValueError(f"its rows owe steps that are not from {start} on")


def _by_prefix(flat: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    nested: dict[str, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        prefix, _, name = key.partition("/")
        nested.setdefault(prefix, {})[name] = tensor
    return nested
