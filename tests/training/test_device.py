"""`train.device` and the commands' `--device` by the name of whatever accelerator the machine has."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

from partialfc.cli.app import app
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.training.run import train
from tests.pretend.machine import machine
from tests.train_cases import small_config
from tests.training.cases import EXACT, losses, moved


def trained(folder: Path, device: str) -> tuple[list[float], bool]:
    """The losses of a run, and whether the accelerator did anything."""
    machine.log.clear()
    train(small_config(folder, f"train.device={device}", "train.steps=3", **EXACT))
    return losses(folder), bool(machine.log.operations)


@pytest.mark.parametrize(("device", "there"), [("auto", True), ("pretend", True), ("cpu", False)])
def test_a_config_names_the_accelerator(on_pretend, folder, device, there):
    found, used = on_pretend(trained, moved(folder, "there"), device)
    assert used == there
    assert found == pytest.approx(trained(moved(folder, "here"), "cpu")[0], rel=1e-9)


def evaluated(folder: Path, device: str) -> tuple[str, bool]:
    machine.log.clear()
    with contextlib.redirect_stdout(io.StringIO()) as text:
        how = ("--folds", "2", "--device", device, "--trust", "tests.train_cases")
        words = ("evaluate", folder / "run", "--pairs", folder / "pairs.bin", *how)
        app([str(each) for each in words], standalone_mode=False)
    return text.getvalue(), bool(machine.log.operations)


@pytest.mark.parametrize(("device", "there"), [("auto", True), ("pretend", True), ("cpu", False)])
def test_evaluate_takes_the_accelerators_name(on_pretend, folder, device, there):
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=40, seed=0))
    options: dict[str, Any] = {"device": "cpu", "steps": 3}
    train(small_config(folder, train=options))
    found, used = on_pretend(evaluated, folder, device)
    assert used == there
    assert found == evaluated(folder, "cpu")[0]
