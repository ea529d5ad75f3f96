"""Several optimizers that step together or not at all."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.amp.grad_scaler import OptState

from partialfc.head.optim.base import RowOptimizer, shortened
from partialfc.head.optim.fused import FOUND_INF, GRAD_SCALE, begin_momentum, given_to, heeds_found_inf


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

    Where each of them decides on the device whether it steps, as row optimizers and torch's with fused=True
    do, so does this one, and the program waits for nothing. Where one does not, the GradScaler reads in each
    step whether the gradients are finite, and waits for the device, as it does with that one alone.

    The GradScaler is given this optimizer in all of its calls: `scaler.unscale_` of this one divides the
    gradients of all of them. After that of a single one, this one's is an error, and the other way round.

    Learning-rate schedulers may be of the single optimizers or of this one, whose `defaults` are those that
    all of them have. It can be copied and pickled where all of them can, which a row optimizer cannot.

    Args:
        optimizers (torch.optim.Optimizer): Two or more, of different parameters, in the order of their steps.

    Raises:
        ValueError: for fewer than two, what is no optimizer, the same one twice, or two of one parameter.
    """

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        for optimizer in optimizers:
            if not isinstance(optimizer, torch.optim.Optimizer):
                raise ValueError(
                    f"optimizers has {shortened(optimizer)}; each must be a torch.optim.Optimizer, as in "
                    "JointOptimizer(backbone_optimizer, head_optimizer)"
                )
        if len(optimizers) < 2:
            only = "".join(f", a {type(optimizer).__name__}" for optimizer in optimizers)
            raise ValueError(
                f"optimizers has {len(optimizers)}{only}; give two or more, of different parameters"
            )
        if len({*map(id, optimizers)}) != len(optimizers):
            raise ValueError("optimizers has one of them twice, which would step twice")
        _check_apart(optimizers)
        self.optimizers = optimizers
        first, *others = (optimizer.defaults for optimizer in optimizers)
        shared = {name: value for name, value in first.items() if all(name in other for other in others)}
        # State and groups are those of the optimizers, so torch's __init__ would make second, empty ones.
        # This makes the rest, which schedulers and hooks look for.
        super().__setstate__({"defaults": shared})

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """What a GradScaler looks for: whether all of them heed `found_inf` and `grad_scale`."""
        return all(map(heeds_found_inf, self.optimizers))

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
        given = self._given()
        for optimizer in self.optimizers:
            if isinstance(optimizer, JointOptimizer | RowOptimizer):
                with _attributes(optimizer, given):
                    optimizer.step()
            elif heeds_found_inf(optimizer):
                if given and isinstance(optimizer, torch.optim.SGD):
                    begin_momentum(optimizer)
                with _attributes(optimizer, {name: value.float() for name, value in given.items()}):
                    optimizer.step()
            elif not given.get(FOUND_INF, False):
                optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all of them."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        raise ValueError("add a parameter group to one of the optimizers, not to the JointOptimizer")

    def state_dict(self) -> dict[str, Any]:
        """The state_dict of each, by its place."""
        for before in self._optimizer_state_dict_pre_hooks.values():
            before(self)
        state = {str(place): optimizer.state_dict() for place, optimizer in enumerate(self.optimizers)}
        for after in self._optimizer_state_dict_post_hooks.values():
            state = after(self, state) or state
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` of as many optimizers gave.

        Raises ValueError for what is no such state, or is that of another number of optimizers.
        """
        for before in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = before(self, state_dict) or state_dict
        self._check_state(state_dict)
        for place, optimizer in enumerate(self.optimizers):
            optimizer.load_state_dict(state_dict[str(place)])
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the optimizers, without hooks, as torch's own."""
        return {"defaults": self.defaults, "optimizers": self.optimizers}

    def _check_state(self, state_dict: object, name: str = "state_dict") -> None:
        """ValueError where this is not the state of as many optimizers."""
        if not isinstance(state_dict, Mapping):
            kind = type(state_dict).__name__
            raise ValueError(f"{name} is of type {kind}; it must be what JointOptimizer.state_dict() gave")
        places = [str(place) for place in range(len(self.optimizers))]
        if {*state_dict} != {*places}:
            raise ValueError(f"{name} has {[*state_dict]}; it must have the optimizers {places}")
        for place, optimizer in zip(places, self.optimizers, strict=True):
            state, part = state_dict[place], f"{name}[{place!r}]"
            if isinstance(optimizer, JointOptimizer):
                optimizer._check_state(state, part)
            elif not isinstance(state, Mapping) or not {"state", "param_groups"} <= {*state}:
                kind = type(optimizer).__name__
                raise ValueError(
                    f"{part} is no state of an optimizer; it must be what {kind}.state_dict() gave"
                )

    def _given(self) -> dict[str, torch.Tensor]:
        """The `found_inf` and `grad_scale` of this step, as all within take them: found_inf is 0 or 1.

        Raises ValueError where one of them would not, before any has moved.
        """
        given = given_to(self, None)
        for optimizer in self._all_within():
            device = optimizer.head.weight.device if isinstance(optimizer, RowOptimizer) else None
            given_to(optimizer, device)
            if isinstance(optimizer, RowOptimizer):
                given_to(self, device)
            elif GRAD_SCALE in given and not isinstance(optimizer, JointOptimizer):
                _check_divides(optimizer)
        if FOUND_INF in given:
            given[FOUND_INF] = (given[FOUND_INF] != 0).float()  # torch's skip for 1: not for a sum, or NaN
        return given

    def _all_within(self) -> Iterator[torch.optim.Optimizer]:
        """Every optimizer in this one: joint ones, and those in them, included."""
        for optimizer in self.optimizers:
            if isinstance(optimizer, JointOptimizer):
                yield from optimizer._all_within()
            yield optimizer

    def _unscale_as_one(self, scaler: torch.amp.GradScaler) -> None:
        """From now to its next update, the scaler takes what it did to this one as done to each of them.

        Raises RuntimeError if it has divided one's gradients already, which it would now divide again.
        """
        states = scaler._per_optimizer_states
        own = states[id(self)]
        for optimizer in self._all_within():
            state = states.get(id(optimizer), own)
            if state is not own and state["stage"] is not OptState.READY:
                raise RuntimeError(
                    f"scaler.unscale_ or scaler.step was called for the {type(optimizer).__name__} in this "
                    "JointOptimizer alone, so its gradients would be divided by the scale twice; call "
                    "scaler.unscale_(joint) and scaler.step(joint) with the JointOptimizer instead"
                )
            states[id(optimizer)] = own


@contextmanager
def _attributes(optimizer: torch.optim.Optimizer, values: Mapping[str, Any]) -> Iterator[None]:
    """Inside, the optimizer has these attributes."""
    for name, value in values.items():
        setattr(optimizer, name, value)
    try:
        yield
    finally:
        for name in values:
            delattr(optimizer, name)


def _check_divides(optimizer: torch.optim.Optimizer) -> None:
    """ValueError for an optimizer that does not divide by `grad_scale`."""
    if not heeds_found_inf(optimizer):
        raise ValueError(
            f"grad_scale is set, and a {type(optimizer).__name__} does not divide by it: divide the "
            "gradients first, with scaler.unscale_ of this JointOptimizer"
        )


def _check_apart(optimizers: tuple[torch.optim.Optimizer, ...]) -> None:
    """ValueError where two optimizers have a parameter in common."""
    owner: dict[torch.Tensor, torch.optim.Optimizer] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                other = owner.setdefault(parameter, optimizer)
                if other is not optimizer:
                    kinds = f"a {type(other).__name__} and a {type(optimizer).__name__}"
                    raise ValueError(
                        f"optimizers has {kinds} of the same parameter, of shape {[*parameter.shape]}, which "
                        "both would move; give each its own"
                    )
