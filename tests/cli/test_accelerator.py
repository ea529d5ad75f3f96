"""The commands on the pretend accelerator, chosen by its name or by auto: a run, and what it has learnt."""

import io
import json
from contextlib import redirect_stdout

import pytest

from partialfc.cli.app import app
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.metrics.run_log import read_metrics


def call(*arguments: object) -> str:
    """`partialfc ARGUMENTS` in this process; what it prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        app([str(each) for each in arguments], standalone_mode=False)
    return printed.getvalue()


@pytest.mark.slow
def test_a_run_is_evaluated_there_as_on_a_cpu(on_pretend, folder):
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=60, seed=0))
    on_pretend(call, "train", folder / "config.yaml", "train.device=auto", "train.amp=null")
    assert [each["step"] for each in read_metrics(folder / "run") if each["event"] == "checkpoint"] == [12]
    for more in ([], ["--flip", "sum"], ["--flip", "concat"]):
        how = ["evaluate", folder / "run", "--pairs", folder / "pairs.bin", "--json", "--batch-size", "7"]
        how += ["--trust", "tests.train_cases", *more]
        there = figures(on_pretend(call, *how, "--device", "pretend"))
        assert there == pytest.approx(figures(call(*how, "--device", "cpu")), rel=1e-5)
        assert there["accuracy"] > 0.7
    how = ["export", folder / "run", folder / "a.onnx", "--pairs", folder / "pairs.bin", "--json"]
    how += ["--trust", "tests.train_cases"]
    there, here = (
        json.loads(text)["float32"]["pairs"]
        for text in (on_pretend(call, *how, "--device", "pretend"), call(*how, "--device", "cpu"))
    )
    assert there == here
    how = ["evaluate", folder / "a.onnx", "--pairs", folder / "pairs.bin", "--json", "--device", "pretend"]
    assert figures(on_pretend(call, *how))["auc"] == pytest.approx(here["auc"], rel=1e-5)


def figures(printed: str) -> dict[str, float]:
    """Without those that need more pairs."""
    return {name: value for name, value in json.loads(printed).items() if isinstance(value, float)}
