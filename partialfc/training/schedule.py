"""The learning rate as a pure function of the optimizer step."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

Shape = Literal["polynomial", "cosine", "constant", "step"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """`schedule(step)` is the learning rate of optimizer step `step`; the first step is 0.

    Warm-up is linear: step s < warmup_steps has peak·(s + 1)/warmup_steps. The first step is small but
    never 0, and step warmup_steps - 1 is the only one at the peak (step 0 where there is no warm-up).

    From the peak's step p the rate decays with t = (s - p)/(total_steps - p):
    polynomial: final + (peak - final)·(1 - t)^power; cosine: final + (peak - final)·(1 + cos(pi·t))/2;
    constant: peak, whatever power and final_ratio say. Here final = peak·final_ratio.
    t would be 1 at step total_steps, so the last step, total_steps - 1, still moves the weights even when
    final is 0. Steps from total_steps on hold the final value.
    step: peak·gamma^m, where m of the milestones are at most s (torch.optim.lr_scheduler.MultiStepLR).

    With peak=1 it is the factor that torch.optim.lr_scheduler.LambdaLR multiplies each group's rate by.
    """

    peak: float
    total_steps: int
    warmup_steps: int = 0
    name: Shape = "polynomial"
    power: float = 2.0
    final_ratio: float = 0.0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1

    def __post_init__(self) -> None:
        """ValueError for a value outside its range."""
        if self.name not in get_args(Shape):
            raise ValueError(f"name is {self.name!r}; it must be one of {', '.join(get_args(Shape))}")
        _check_whole("total_steps", self.total_steps, low=1)
        _check_whole("warmup_steps", self.warmup_steps, low=0)
        if self.warmup_steps > self.total_steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}; it must be at most total_steps, {self.total_steps}"
            )
        for name, value in (("peak", self.peak), ("power", self.power)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}; it must be finite and above 0")
        if not 0 <= self.final_ratio <= 1:
            raise ValueError(f"final_ratio is {self.final_ratio!r}; it must lie in 0..1")
        if not 0 < self.gamma < 1:
            raise ValueError(f"gamma is {self.gamma!r}; it must lie between 0 and 1")
        if self.milestones:
            self._check_milestones()

    def _check_milestones(self) -> None:
        if self.name != "step":
            raise ValueError(
                f"milestones are {self.milestones}; only name 'step' has them, not {self.name!r}"
            )
        for each in self.milestones:
            _check_whole("a milestone", each, low=max(1, self.warmup_steps))
        if any(after <= before for before, after in pairwise(self.milestones)):
            raise ValueError(f"milestones are {self.milestones}; each must be larger than the one before")

    def __call__(self, step: int) -> float:
        """ValueError for a step that is negative or not a whole number."""
        _check_whole("step", step, low=0)
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        if self.name == "constant":
            return self.peak
        if self.name == "step":
            return self.peak * self.gamma ** bisect_right(self.milestones, step)
        final = self.peak * self.final_ratio
        if step >= self.total_steps:
            return final
        peak_step = max(self.warmup_steps - 1, 0)
        done = (step - peak_step) / (self.total_steps - peak_step)
        left = (1 - done) ** self.power if self.name == "polynomial" else (1 + math.cos(math.pi * done)) / 2
        return final + (self.peak - final) * left


def _check_whole(name: str, value: int, *, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {low}")
