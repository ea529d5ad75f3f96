"""Rules for the head: margin, scale, the sample of classes, and how its centres are stored."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from partialfc.plan import Setting, memory_of
from partialfc.suggest.choice import Choice

# Up to so many classes, this scale.
SCALES = ((10_000, 16), (100_000, 32), (1 << 62, 64))
SAMPLE_RATES = ((100_000, 1.0), (1_000_000, 0.3), (1 << 62, 0.1))
SHARE = 0.5  # of the memory that the head may take; the rest is the backbone's
NARROW = 100_000  # classes from which on a device that multiplies bfloat16 fast does so in the head


def margin(classes: int, images_a_class: int) -> Choice:
    """images_a_class: of the class in the middle."""
    scale = next(value for most, value in SCALES if classes <= most)
    size = 0.4 if classes > 100_000 and images_a_class >= 10 else 0.3
    return Choice(
        {"name": "cosface", "scale": scale, "margin": size},
        "How far from all other classes a class must be. scale: 16 for thousands of classes, 32 for tens "
        "of thousands, 64 beyond. Where the loss does not fall, halve the margin; where classes are easy "
        "and well photographed, 0.4 or arcface with 0.5 separates them further.",
    )


def storage(setting: Setting, memory: int, *, bfloat16: bool) -> dict[str, Choice]:
    """The sample rate, and dtypes where the head would not fit; memory: bytes of a rank."""
    rate = next(value for most, value in SAMPLE_RATES if setting.classes <= most)
    setting = replace(setting, sample_rate=rate)
    found: dict[str, Choice] = {}
    if bfloat16 and setting.classes > NARROW:
        setting = replace(setting, compute_dtype="bfloat16")
        found["compute_dtype"] = Choice("bfloat16", "Products of the head; this device multiplies it fast.")
    room = int(SHARE * memory)
    for field, value in (("", None), *_smaller(setting)):
        if field:
            setting = replace(setting, **{field: value})
            found[field] = Choice(
                value, "Without it the head would not fit the memory of a rank; partialfc plan says more."
            )
        if memory_of(setting).total <= room:
            break
    why = (
        "All classes take part in each step. Below 1 a sample of them does, which is faster from some "
        "hundred thousand classes on: 0.3, and 0.1 from a million on."
        if setting.sample_rate == 1
        else "This part of the classes takes part in a step, and all that the batch shows. A larger one is "
        "slower; one of less than some ten thousand classes learns worse."
    )
    if memory_of(setting).total > room:
        why += " Even so the head does not fit half of a rank's memory: take more ranks (partialfc plan)."
    return {"sample_rate": Choice(setting.sample_rate, why)} | {
        name: each for name, each in found.items() if name != "sample_rate"
    }


def _smaller(setting: Setting) -> Iterator[tuple[str, Any]]:
    """What to change, one after the other, until the head fits."""
    yield "weight_dtype", "bfloat16"
    yield "momentum_dtype", "int8"
    yield from (("sample_rate", rate) for rate in (0.3, 0.1, 0.05) if rate < setting.sample_rate)
