"""The command compare: two checkpoints of a run, on several pair files, alone and under torchrun."""

import json

import numpy as np
import pytest

from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import PairSet, write_pairs
from partialfc.data.sources.source import open_source
from partialfc.training.run import train
from tests.processes import call
from tests.train_cases import small_config, write_data


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The command for a run's checkpoints after 1 and after 6 steps, and two sets with some wrong flags."""
    folder = tmp_path_factory.mktemp("compared")
    write_data(folder)
    pairs = []
    for seed in (0, 1):
        drawn = make_pairs(open_source(folder / "train.rec"), pairs=60, seed=seed)
        pairs += ["--pairs", folder / f"{seed}.bin"]
        write_pairs(pairs[-1], PairSet(drawn.images, drawn.same ^ (np.arange(60) % 9 == 0)))
    kept = {"every_steps": 5, "keep_last": 3}
    train(small_config(folder, "train.steps=10", checkpoint=kept))
    steps = sorted((folder / "run" / "checkpoints").glob("step-*"))
    how = ("--device", "cpu", "--trust", "tests.train_cases", "--bootstrap", 100)
    return "compare", steps[0], steps[-1], *pairs, *how


def test_the_differences_are_those_of_what_evaluate_gives(words):
    found = json.loads(call(*words, "--json").stdout)
    assert [*found] == [str(words[4]), str(words[6])]
    figures = found[str(words[4])]
    how = ("--pairs", words[4], *words[7:11], "--bootstrap", 0, "--json")
    assert json.loads(call("evaluate", words[2], *how).stdout) == figures["second"]
    for name, each in figures["differences"].items():
        assert each["difference"] == pytest.approx(figures["second"][name] - figures["first"][name])
        assert each["interval"][0] <= each["interval"][1]
        assert 0 < each["p"] <= 1
    assert figures["differences"].keys() == {"accuracy", "auc", "eer"}
    shared = json.loads(call(*words, "--json", ranks=2).stdout)
    assert shared[str(words[6])]["differences"]["auc"]["difference"] == pytest.approx(
        found[str(words[6])]["differences"]["auc"]["difference"], abs=1e-6
    )


def test_people_read_a_table(words):
    printed = call(*words[:5], *words[7:])
    assert printed.returncode == 0, printed.stderr
    title, head, *rows, test = printed.stdout.splitlines()
    assert title == f"{words[4]}: 60 pairs in float32"
    assert head.split() == [words[1].name, words[2].name, "difference", "95", "%", "interval", "p"]
    assert [row.split()[0] for row in rows] == ["accuracy", "auc", "eer"]
    assert test.startswith("McNemar: ")
    of_itself = call(*words[:2], words[1], *words[3:5], *words[7:]).stdout.splitlines()
    assert of_itself[1].split()[:2] == ["first", "second"]
    assert [row.split()[-1] for row in of_itself[2:5]] == ["1.0000"] * 3


@pytest.mark.parametrize(
    ("pairs", "message"),
    [("nowhere.bin", "nowhere.bin: cannot be read: No such file"), (None, "Missing option")],
)
def test_mistakes_are_one_line(words, pairs, message):
    given = () if pairs is None else ("--pairs", pairs)
    failed = call(*words[:3], *given, *words[7:])
    assert failed.returncode != 0
    assert message in failed.stderr
