"""The state of a run at one step: everything that a resume needs, to a checkpoint and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from partialfc.backbones.weights.load import load_weights
from partialfc.checkpoint.tensors import Tensors
from partialfc.distributed.accelerator import is_accelerator
from partialfc.finetune.groups import LR_SCALE
from partialfc.finetune.lora import load_lora_state, lora_state
from partialfc.metrics.registry import Totals
from partialfc.training.counts import count
from partialfc.training.loss_scale import LossScale
from partialfc.training.objectives.objective import Objective


@dataclass
class RunState:
    """The objects that training changes, and its counters."""

    objective: Objective
    optimizer: torch.optim.Optimizer  # of the objective's network
    loss_scale: LossScale
    device: torch.device
    step: int = 0  # optimizer steps done, skipped ones included
    samples: int = 0  # position in the global stream of samples
    best: float | None = None  # best verification score so far
    nonfinite_steps: int = 0
    overflow_steps: int = 0  # skipped while float16's loss scale was found
    totals: list[Totals] = field(default_factory=list)  # every rank's counters, by rank

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All of them, the network's first."""
        return [self.optimizer, *self.objective.optimizers.values()]

    @property
    def learning_rates(self) -> dict[str, float]:
        """The learning rates of the last step, by what they move: the backbone, and what is named else."""
        optimizers = {"backbone": self.optimizer, **self.objective.optimizers}
        return {name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()}

    def set_learning_rates(self, backbone: float, head: float) -> None:
        """Set the learning rates of the next step: of the network, and of all beside it."""
        for optimizer in self.optimizers:
            rate = backbone if optimizer is self.optimizer else head
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get(LR_SCALE, 1.0)

    def tensors(self) -> Tensors:
        """What a checkpoint holds in tensors: parameters, optimizer states, random generators."""
        own = self.objective.tensors()
        replicated = {f"backbone/{name}": t for name, t in self.objective.backbone.state_dict().items()}
        replicated |= {f"lora/{name}": t for name, t in lora_state(self.objective.backbone).items()}
        for index, parameter in enumerate(self.objective.network.parameters()):
            state = self.optimizer.state.get(parameter, {})
            replicated |= {f"optimizer/{index}/{k}": v for k, v in state.items() if isinstance(v, Tensor)}
        replicated |= own.replicated
        private = {"rng_cpu": torch.get_rng_state()}
        if is_accelerator(self.device):
            of_device = torch.get_device_module(self.device)
            private[f"rng_{self.device.type}"] = of_device.get_rng_state(self.device)
        return Tensors(own.sharded, replicated, {**own.private, **private}, own.other_rows)

    def values(self) -> dict[str, Any]:
        """What a checkpoint's state.json holds of it."""
        return {
            "step": self.step,
            "samples": self.samples,
            "best": self.best,
            "nonfinite_steps": self.nonfinite_steps,
            "overflow_steps": self.overflow_steps,
            "loss_scale": self.loss_scale.state(),
            "metrics": self.totals,
            **self.objective.values(),
        }

    def restore(
        self, values: Mapping[str, Any], tensors: Tensors, *, backbone: str, embedding_size: int
    ) -> None:
        """Become what `values` and `tensors` gave; the sharded tensors have been loaded in place already.

        backbone: its name, for messages; embedding_size: what it gives. Raises CheckpointError where its
        weights are of another network.
        """
        replicated = _by_prefix(tensors.replicated)
        load_weights(
            self.objective.backbone, replicated["backbone"], name=backbone, embedding_size=embedding_size
        )
        load_lora_state(self.objective.backbone, replicated.get("lora", {}))
        self._restore_optimizer(replicated.get("optimizer", {}))
        self.objective.restore_state(values, replicated)
        if "rng_cpu" in tensors.private:
            torch.set_rng_state(tensors.private["rng_cpu"])
        if (name := f"rng_{self.device.type}") in tensors.private and is_accelerator(self.device):
            torch.get_device_module(self.device).set_rng_state(tensors.private[name], self.device)
        self.step, self.samples = count(values, "step"), count(values, "samples")
        self.best = None if values["best"] is None else float(values["best"])
        self.nonfinite_steps = count(values, "nonfinite_steps")
        # Checkpoints of version 0.1 have none of these.
        self.overflow_steps = count({"overflow_steps": 0, **values}, "overflow_steps")
        self.loss_scale.restore(values.get("loss_scale"))
        self.totals = values.get("metrics", [])

    def _restore_optimizer(self, flat: Mapping[str, Tensor]) -> None:
        """A checkpoint numbers parameters as the network does, so that the optimizer's groups may differ."""
        state: dict[int, dict[str, Tensor]] = {}
        parameters = [*self.objective.network.parameters()]
        grouped = (p for group in self.optimizer.param_groups for p in group["params"])
        place = {parameter: index for index, parameter in enumerate(grouped)}
        for key, tensor in flat.items():
            index, _, name = key.partition("/")
            parameter = parameters[int(index)]
            state.setdefault(place[parameter], {})[name] = _in_order_of(parameter, tensor)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _in_order_of(parameter: Tensor, saved: Tensor) -> Tensor:
    """A parameter's momentum or the like in its memory order, which fused kernels take for granted.

    The run that saved it may have had another `backbone.channels_last`.
    """
    if saved.shape != parameter.shape:
        return saved
    return torch.empty_like(parameter, dtype=saved.dtype, device=saved.device).copy_(saved)


def _by_prefix(flat: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    nested: dict[str, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        prefix, _, name = key.partition("/")
        nested.setdefault(prefix, {})[name] = tensor
    return nested
