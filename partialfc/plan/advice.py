"""How far a setting can grow, and what to change where it does not fit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from partialfc.plan.memory import memory_of
from partialfc.plan.setting import Setting

MOST_CLASSES = 10**12
MOST_GPUS = 1 << 20
WORTH_NAMING = 0.02  # a change that saves less than this share of the memory is not proposed
SAMPLE_RATES = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
SMALLEST_BATCH = 16

Candidates = tuple[str, tuple[Any, ...]]  # a field of Setting, and values to try, mildest first


@dataclass(frozen=True, slots=True)
class Alternative:
    """Fields of the setting to change together, the bytes on a rank after that, and whether those fit."""

    changes: Mapping[str, Any]
    total: int
    fits: bool


def most_classes(setting: Setting, room: int) -> int:
    """The largest number of classes whose head needs at most `room` bytes on a rank; 0 for none."""
    return _last_true(
        lambda classes: memory_of(replace(setting, classes=classes)).total <= room, MOST_CLASSES
    )


def fewest_gpus(setting: Setting, room: int) -> int | None:
    """The smallest number of ranks that the head fits on, with the same batch on each; None for none.

    With more ranks the shard is smaller, but more embeddings are gathered, so that the total grows again in
    the end.
    """
    gpus = setting.gpus
    while not _fits(replace(setting, gpus=gpus), room):
        gpus *= 2
        if gpus > MOST_GPUS:
            return None
    return 1 + _last_true(lambda count: not _fits(replace(setting, gpus=count), room), gpus)


def alternatives(setting: Setting, room: int) -> tuple[Alternative, ...]:
    """What to change so that the head needs at most `room` bytes on a rank, cheapest first; empty if it fits.

    First come single changes: narrower storage, which also makes a step faster, then less work in a step.
    Where no single change is enough, they are added up in that order until the head fits. More ranks come
    last.
    """
    if _fits(setting, room):
        return ()
    singles = [
        _alternative(setting, {field: value}, room)
        for field, values in _candidates(setting)
        if (value := _best(setting, field, values, room)) is not None
    ]
    if any(single.fits for single in singles):
        return (*singles, *_more_gpus(setting, {}, room))
    found, changes = singles, dict[str, Any]()
    for field, values in _candidates(setting):
        value = _best(replace(setting, **changes), field, values, room)
        if value is None:
            continue
        changes[field] = value
        if len(changes) > 1:
            found.append(_alternative(setting, changes, room))
        if found[-1].fits:
            return (*found, *_more_gpus(setting, {}, room))
    return (*found, *_more_gpus(setting, changes, room), *_more_gpus(setting, {}, room))


def _alternative(setting: Setting, changes: Mapping[str, Any], room: int) -> Alternative:
    total = memory_of(replace(setting, **changes)).total
    return Alternative(dict(changes), total, total <= room)


def _best(setting: Setting, field: str, values: Sequence[Any], room: int) -> Any:
    """The mildest value that fits, else the mildest one that saves enough to be named, else None."""
    tries = {value: memory_of(replace(setting, **{field: value})).total for value in values}
    enough = (1.0 - WORTH_NAMING) * memory_of(setting).total
    fitting = [value for value, total in tries.items() if total <= room]
    return next(iter(fitting + [value for value, total in tries.items() if total <= enough]), None)


def _more_gpus(setting: Setting, changes: Mapping[str, Any], room: int) -> Iterator[Alternative]:
    gpus = fewest_gpus(replace(setting, **changes), room)
    if gpus is not None and gpus > setting.gpus:
        yield _alternative(setting, {**changes, "gpus": gpus}, room)


def _candidates(setting: Setting) -> Iterator[Candidates]:
    if setting.weight_dtype != "bfloat16":
        yield "weight_dtype", ("bfloat16",)
    if setting.optimizer == "sgd" and setting.stored_momentum not in ("int8", "none"):
        yield "momentum_dtype", ("int8",)
    if setting.compute_dtype != "bfloat16":
        yield "compute_dtype", ("bfloat16",)
    if setting.optimizer == "adamw":
        yield "optimizer", ("sgd",)
    yield "sample_rate", tuple(rate for rate in SAMPLE_RATES if rate < setting.sample_rate)
    halves = [setting.batch >> shift for shift in range(1, setting.batch.bit_length())]
    yield "batch", tuple(half for half in halves if half >= SMALLEST_BATCH)


def _fits(setting: Setting, room: int) -> bool:
    return memory_of(setting).total <= room


def _last_true(test: Callable[[int], bool], stop: int) -> int:
    """The last number of 1..stop that passes the test; 0 for none. After one that fails, all must fail."""
    low, high = 0, 1
    while high <= stop and test(high):
        low, high = high, high * 2
    high = min(high, stop + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if test(middle) else (low, middle)
    return low
