"""`train.amp`: a type that a CPU computes slowly is named at the start, once."""

import logging

import torch

from partialfc.distributed.device import has_bfloat16
from partialfc.training.loop import Trainer
from tests.train_cases import small_config

FAST = has_bfloat16(torch.device("cpu"))
WARNING = "train.amp is {}, which is slow on this CPU; set train.amp=" + ("bfloat16" if FAST else "null")


def said(folder, amp: str) -> list[str]:
    """What warnings about it a rank gives."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("partialfc").addHandler(handler)
    try:
        trainer = Trainer(small_config(folder, f"train.amp={amp}", "train.steps=3"), torch.device("cpu"))
        with trainer.running():
            trainer.run()
    finally:
        logging.getLogger("partialfc").removeHandler(handler)
    return [line for line in found if line.startswith("train.amp is")]


def test_float16_on_a_cpu_is_warned_of_on_one_rank_and_once(run_ranks, folder):
    assert run_ranks(said, 2, folder, "float16") == [[WARNING.format("float16")], []]


def test_what_is_fast_or_float32_is_not_warned_of(folder):
    assert said(folder, "auto") == []
    assert said(folder, "null") == []


def test_bfloat16_is_warned_of_where_the_cpu_has_no_instructions_for_it(folder):
    assert said(folder, "bfloat16") == ([] if FAST else [WARNING.format("bfloat16")])
