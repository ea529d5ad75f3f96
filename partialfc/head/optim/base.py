"""What RowSGD and RowAdamW share: they compute the centres' gradient chunk by chunk and apply it at once."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from partialfc.distributed.accelerator import is_accelerator, on_device
from partialfc.head.kernels.compiled import outside_graphs
from partialfc.head.kernels.storage import Noise, Stored, is_rounded, seeds
from partialfc.head.moving import check_has_values
from partialfc.head.optim.factor import CommonFactor
from partialfc.head.optim.fused import FOUND_INF, GRAD_SCALE, given_to
from partialfc.head.partial_fc import PartialFC
from partialfc.head.rows import Owed
from partialfc.head.whose import KEY, check_note

State = dict[str, Any]
REPLACED = (
    "{what}: FSDP does that (fully_shard, FullyShardedDataParallel) where it is around the head, and cuts up "
    "what is this rank's shard of the centres already; wrap the backbone alone, and build the head and its "
    "optimizer again"
)


class RowOptimizer(torch.optim.Optimizer):
    """An optimizer of the centres of one head, which runs pass 2 of its softmax inside `step`.

    `step` consumes the gradients it applies, so they are applied once; `zero_grad` drops those not applied.

    As torch's fused optimizers, it has two optional attributes that are set before `step` and deleted after
    it, by a torch.amp.GradScaler or a loop of your own, each a tensor of one number on the head's device:
    where `found_inf` is not 0 (NaN is not), the step consumes the gradients and leaves no trace on rows and
    state; by `grad_scale`, which must be finite and above 0, the gradients are divided. An accelerator
    decides by itself, and the program waits for nothing. What is no such tensor is a ValueError in `step`,
    before anything moves; so is a `grad_scale` out of its range, on a CPU: on an accelerator nobody reads it.

    Args:
        head (PartialFC): The head whose centres it moves.
        defaults (dict): The settings of the parameter group, by name.

    Raises:
        ValueError: if head is no PartialFC, has a row optimizer already or was built with sparse_grad=True.
    """

    _step_supports_amp_scaling = True  # what a GradScaler looks for

    def __init__(self, head: PartialFC, defaults: dict[str, Any]) -> None:
        kind = type(self).__name__
        head = getattr(head, "_orig_mod", head)  # of what torch.compile(head) gave
        if not isinstance(head, PartialFC):
            raise ValueError(
                f"head is {shortened(head)}; it must be the PartialFC whose centres are to be moved, as in "
                f"{kind}(head, lr=0.1), alone: other parameters need an optimizer of their own"
            )
        check_has_values(head)
        if hasattr(head.weight, "to_local"):  # a DTensor
            raise ValueError(REPLACED.format(what="head.weight is a DTensor"))
        self.factor = CommonFactor(head.weight.device)
        super().__init__([head.weight, self.factor.parameter], defaults)
        self.head = head
        self._in_step = False
        self._steps = 0  # that were asked for with a gradient, whether they were applied or not
        head.attach(self)

    @property
    def row_state(self) -> State:
        """The tensors with one row for each local class, by name, for checkpoints and resharding."""
        return {k: v for k, v in self.state[self.head.weight].items() if isinstance(v, Tensor)}

    @property
    def shared_state(self) -> State:
        """The numbers and small tensors that are the same on every rank, by name, for checkpoints."""
        return {"steps": self._steps}

    def load_shared_state(self, state: State) -> None:
        """Go on from the `shared_state` of another optimizer of this kind."""
        steps = state.get("steps", 0)  # states of version 0.1 have none
        if type(steps) is not int or steps < 0:
            raise ValueError(f"the optimizer's steps is {steps!r}; it must be a whole number of at least 0")
        self._steps = steps

    def owed(self, index: Tensor | None) -> Owed:
        """What rows index [K] owe, None for all; nothing by default."""
        return Owed()

    def flush(self) -> None:
        """Bring every row of `head.weight` up to date; between flushes, rows may owe steps."""

    def rows_were_replaced(self) -> None:
        """The head has loaded other rows, which owe nothing; the optimizer's own state is loaded later."""
        self._follow_weight()

    def follow_head(self) -> None:
        """The head has moved to another device: the row state and the common factor go there too."""
        self._follow_weight()
        device = self.head.weight.device
        state = self.state[self.head.weight]
        state.update({name: tensor.to(device) for name, tensor in self.row_state.items()})
        self.factor = CommonFactor(device)
        self.param_groups[0]["params"][1] = self.factor.parameter

    def check_whole(self) -> None:
        """Raises RuntimeError if a step ended in the middle, or something has replaced the head's weight."""
        if self.param_groups[0]["params"][0] is not self.head.weight:
            what = "head.weight is not the parameter with which its optimizer was built"
            raise RuntimeError(REPLACED.format(what=what))
        if self._in_step:
            raise RuntimeError(
                "an optimizer step on this head failed half way, so some rows have moved and others not; "
                "load the head and its optimizer from a checkpoint"
            )

    @outside_graphs
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move the rows by the gradients of all backwards since the last step. Returns the closure's loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        given = given_to(self, self.head.weight.device)
        if self.head.has_row_gradients():
            (group,) = self.param_groups
            self.check_whole()
            self.head.check_waiting_gradients()
            self.head.count_move()
            self._in_step = True
            with torch.autocast(self.head.weight.device.type, enabled=False):
                self._begin_step(group)
                applies = self._applies(given.get(FOUND_INF))
                if applies is not False:
                    if GRAD_SCALE in given:
                        self.factor.divide(given[GRAD_SCALE])
                    self._update(group, applies)
            self._steps += 1
            self._in_step = False
            self.head.discard_row_gradients()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients that wait for a step."""
        super().zero_grad(set_to_none)
        self.head.discard_row_gradients()

    def add_param_group(self, param_group: State) -> None:
        if self.param_groups:
            raise ValueError("a row optimizer moves the centres of one head; other parameters need their own")
        super().add_param_group(param_group)

    def state_dict(self) -> State:
        """As torch.optim.Optimizer's. It flushes first, so it fits the head's, whichever is taken first."""
        self.flush()
        state = super().state_dict()
        state["param_groups"][0]["params"] = [0]  # the weight; the common factor lasts for a step alone
        state["shared"] = self.shared_state
        state[KEY] = self.head.whose
        return state

    def load_state_dict(self, state_dict: State) -> None:
        """As torch.optim.Optimizer's, but row state keeps its own dtypes (steps are integers).

        Raises ValueError for the state of another kind of optimizer, of another shard, or of rows of another
        shape or dtype.
        """
        shared, tensors = self._read(state_dict)
        self.load_shared_state(shared)
        groups = [{**group, "params": [0, 1]} for group in state_dict["param_groups"]]
        super().load_state_dict({"state": {}, "param_groups": groups})
        self.state[self.head.weight] = {k: v.to(self.head.weight.device) for k, v in tensors.items()}
        self._in_step = False

    def __getstate__(self) -> State:
        kind = type(self).__name__
        raise TypeError(
            f"a {kind} moves the centres of its own head, so it can be neither copied nor pickled: keep "
            f"head.state_dict() and optimizer.state_dict(), and load both into a new head and its {kind}"
        )

    def _read(self, state_dict: State) -> tuple[State, dict[str, Tensor]]:
        """The shared state and the row state of a state_dict, checked against this optimizer's own."""
        kind = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= {*state_dict}:
            raise ValueError(
                f"state_dict is {shortened(state_dict)}; it must be what {kind}.state_dict() gave"
            )
        check_note(state_dict.get(KEY), self.head.whose)
        states = [*state_dict["state"].values()]
        if len(states) > 1:
            raise ValueError(f"state_dict is that of {len(states)} parameters, so not that of a {kind}")
        shared, tensors = state_dict.get("shared", {}), states[0] if states else {}
        row_state = self.row_state
        differing = {*row_state} ^ {*tensors} | {*self.shared_state} ^ {*shared}
        if differing - {"momentum", "momentum_scale", "bias_momentum"} - ({"steps"} - {*shared}):
            raise ValueError(f"state_dict is not that of a {kind} like this one: {sorted(differing)} differ")
        for name in sorted({*row_state} & {*tensors}):
            saved, own = tensors[name], row_state[name]
            if (saved.shape, saved.dtype) != (own.shape, own.dtype):
                raise ValueError(
                    f"state_dict's {name} is {_kind(saved)}, and this {kind}'s is {_kind(own)}: build the "
                    "head and its optimizer with the sizes, ranks and dtypes that the state was saved with"
                )
        return shared, tensors

    def _follow_weight(self) -> None:
        """Move the parameter that is the head's weight now: load_state_dict(assign=True) makes another."""
        (group,) = self.param_groups
        before, weight = group["params"][0], self.head.weight
        if weight is not before:
            group["params"][0] = weight
            self.state[weight] = self.state.pop(before)

    def _update(self, group: State, applies: Tensor | None) -> None:
        """Move every row that has a gradient, chunk by chunk of `head.row_gradients()`.

        applies []: on an accelerator, whether anything moves; None: it does.
        """
        raise NotImplementedError

    def _begin_step(self, group: State) -> None:
        """What comes before the rows move."""

    def _applies(self, found_inf: Tensor | None) -> Tensor | Literal[False] | None:
        """Whether this step is applied, on an accelerator as a tensor []; None: it is."""
        if found_inf is None:
            return None
        applies = found_inf == 0
        if is_accelerator(self.head.weight.device):
            return applies
        return None if applies else False

    def _vector(self, *values: float) -> Tensor:
        """Settings of a step as a tensor, so that one compiled kernel serves all values of them."""
        return on_device(torch.tensor(values, dtype=torch.float64, device="cpu"), self.head.weight.device)

    def _key(self, purpose: int) -> int:
        """The key of rounding noise: the same on every rank, another one for every step and purpose.

        The head's step stands still in eval mode, and one forward may serve several of the optimizer's steps.
        """
        entropy = (self.head.seed, self.head.step, self._steps, purpose)
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint32)[0])

    def _noise(self, key: int, lines: Tensor | slice, *stored: Stored | None) -> Noise | None:
        """The noise of local lines if any of `stored` is rounded: that of a class, at any world size."""
        if not any(map(is_rounded, stored)):
            return None
        if isinstance(lines, slice):
            lines = torch.arange(lines.start, lines.stop, device=self.head.weight.device)
        first = self.head.shard.start * self.head.kind.per_row
        return seeds(lines + first, self.head.embedding_size, key)

    def _new_row_state(self, *, per_element: bool, dtype: torch.dtype) -> Tensor:
        """Zeros like the weight [C_l, S·D] if per_element, otherwise one for each row [C_l]."""
        weight = self.head.weight
        shape = weight.shape if per_element else weight.shape[:1]
        return torch.zeros(shape, dtype=dtype, device=weight.device)


def shortened(value: object) -> str:
    """A value as a message shows it: shortened where it is long; of what has several lines its type."""
    shown, *more = repr(value).splitlines()
    if more:
        return f"a {type(value).__name__}"
    return f"{shown[:60]}... ({type(value).__name__})" if len(shown) > 60 else shown


def _kind(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {tensor.dtype}"
