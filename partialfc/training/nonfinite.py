"""Steps whose loss or gradient is not finite: explained, and an end to the run when they go on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from partialfc.distributed.world import World
from partialfc.errors import NonFiniteError
from partialfc.training.objectives.objective import Objective

FLOAT16_ADVICE = (
    "; float16 holds nothing above 65,504: train.amp bfloat16, where the device has it, or null reach further"
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is kept of a step on this rank until it is known to have ended well.

    embeddings: a tensor [B, D] for each micro-batch; loss []; centres_finite: whether the centres that took
    part in the last one are; terms []: of the loss, by name, the main one's first.
    """

    step: int
    embeddings: Sequence[Tensor]
    loss: Tensor
    centres_finite: Callable[[], bool]
    terms: Mapping[str, Tensor] = field(default_factory=dict)


class NonFiniteSteps:
    """Explains bad steps, those whose loss or gradient is not finite; `limit` in a row raise NonFiniteError.

    float16: whether the backbone runs in it, for that error's advice.
    """

    def __init__(self, objective: Objective, world: World, *, limit: int, float16: bool = False) -> None:
        self._objective = objective
        self._world = world
        self._limit = limit
        self._advice = FLOAT16_ADVICE if float16 else ""
        self._in_a_row = 0
        self._first = ""

    @torch.no_grad()
    def bad(self, evidence: Evidence) -> str:
        """Collective, after a bad step, which moved nothing: what was not finite, and where.

        Waits for the device. Raises NonFiniteError at the limit.
        """
        self._in_a_row += 1
        cause = self._explain(evidence)
        if self._in_a_row == 1:
            self._first = cause
        if self._in_a_row >= self._limit:
            raise NonFiniteError(
                f"{self._in_a_row} steps in a row were not finite, the most that train.max_nonfinite_steps "
                f"allows. The first was {self._first}. A lower learning rate, a longer warm-up or gradient "
                "clipping usually helps; an earlier checkpoint may be from before the training diverged"
                f"{self._advice}"
            )
        return cause

    def finished(self) -> None:
        """After each step that is not bad."""
        self._in_a_row = 0

    def _explain(self, evidence: Evidence) -> str:
        """Collective: what was not finite first, in the order in which it is computed, and on which ranks."""
        centres = evidence.centres_finite()
        main, *beside = evidence.terms.values() or [evidence.loss]
        named = (f"{name} loss" for name in [*evidence.terms][1:])
        stages = ("embedding norm", "centres", self._objective.computes, *named, "gradient")
        finite = (
            _finite(evidence.embeddings),
            centres,
            _finite([main]),
            *(_finite([term]) for term in beside),
        )
        table = self._world.gather_integers([(*finite, False).index(False)])[:, 0]
        stage = int(table.min())
        ranks = ", ".join(str(rank) for rank in range(self._world.size) if table[rank] == stage)
        where = f"rank {ranks}" if stage < 2 else "every rank"
        cause = f"step {evidence.step}: non-finite {stages[stage]} on {where}"
        if stage == 0 and (name := self._bad_parameter()):
            cause += f" (the backbone's {name} is itself non-finite)"
        if stage == 2:
            cause += self._objective.hint
        return cause

    def _bad_parameter(self) -> str | None:
        named = self._objective.network.named_parameters()
        return next((name for name, parameter in named if not _finite([parameter])), None)


def _finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
