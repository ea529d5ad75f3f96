"""Several optimizers that step together or not at all."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.amp.grad_scaler import OptState


class JointOptimizer(torch.optim.Optimizer):
    """Several optimizers as one: under a torch.amp.GradScaler all of them step, or none does.

    A GradScaler decides for each optimizer that it is given alone: where only the backbone's gradient is not
    finite, `scaler.step(head_optimizer)` still moves the centres. As one they are decided upon as one::

        optimizer = partialfc.JointOptimizer(backbone_optimizer, head_optimizer)
        scaler.scale(head(backbone(images), labels)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    Every rank decides alike: DistributedDataParallel gives all of them the same gradient, and what the head
    looks at is the same on each.

    The GradScaler is given this optimizer in all of its calls: `scaler.unscale_` of this one divides the
    gradients of all of them. After that of a single one, this one's is an error, and the other way round.

    Args:
        optimizers (torch.optim.Optimizer): Two or more, of different parameters, in the order of their steps.

    Raises:
        ValueError: for what is no optimizer, or for the same one twice.
    """

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        # All state is that of the optimizers, so torch's own __init__ would only make a second, empty one.
        for optimizer in optimizers:
            if not isinstance(optimizer, torch.optim.Optimizer):
                raise ValueError(f"optimizers has {optimizer!r}; each must be a torch.optim.Optimizer")
        if len({*map(id, optimizers)}) != len(optimizers):
            raise ValueError("optimizers has one of them twice, which would step twice")
        self.optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The parameter groups of all of them, which may be changed in place."""
        # A GradScaler reads them to divide gradients by its scale, and says nowhere else that it does.
        reader = sys._getframe(1).f_locals.get("self")
        if isinstance(reader, torch.amp.GradScaler):
            self._unscale_as_one(reader)
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @property
    def state(self) -> dict[torch.Tensor, Any]:  # type: ignore[override]
        """The state of every parameter."""
        return {key: value for optimizer in self.optimizers for key, value in optimizer.state.items()}

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Step each of them, in order; a closure, which would run once for each, is refused."""
        if closure is not None:
            raise ValueError("closure must be None: it would be called once for each optimizer")
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all of them."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        raise ValueError("add a parameter group to one of the optimizers, not to the JointOptimizer")

    def state_dict(self) -> dict[str, Any]:
        """The state_dict of each, by its place."""
        return {str(place): optimizer.state_dict() for place, optimizer in enumerate(self.optimizers)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` of as many optimizers gave. Raises ValueError for another number of them."""
        places = [str(place) for place in range(len(self.optimizers))]
        if sorted(state_dict) != sorted(places):
            raise ValueError(f"state_dict has {sorted(state_dict)}; it must have the optimizers {places}")
        for place, optimizer in zip(places, self.optimizers, strict=True):
            optimizer.load_state_dict(state_dict[place])

    def _single(self) -> Iterator[torch.optim.Optimizer]:
        """The optimizers that are not joint themselves."""
        for optimizer in self.optimizers:
            if isinstance(optimizer, JointOptimizer):
                yield from optimizer._single()
            yield optimizer

    def _unscale_as_one(self, scaler: torch.amp.GradScaler) -> None:
        """From now to its next update, the scaler takes what it did to this one as done to each of them.

        Raises RuntimeError if it has divided one's gradients already, which it would now divide again.
        """
        states = scaler._per_optimizer_states
        own = states[id(self)]
        for optimizer in self._single():
            state = states.get(id(optimizer), own)
            if state is not own and state["stage"] is not OptState.READY:
                raise RuntimeError(
                    f"scaler.unscale_ or scaler.step was called for the {type(optimizer).__name__} in this "
                    "JointOptimizer alone, so its gradients would be divided by the scale twice; call "
                    "scaler.unscale_(joint) and scaler.step(joint) with the JointOptimizer instead"
                )
            states[id(optimizer)] = own
