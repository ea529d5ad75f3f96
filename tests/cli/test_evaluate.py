"""The command evaluate: which protocol its options choose, and that ranks share the work."""

import json

import numpy as np
import pytest
import typer
from typer.main import get_command

from partialfc.cli.protocols.protocol import Answer, Protocol, choose
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import PairSet, write_pairs
from partialfc.data.sources.source import open_source
from partialfc.errors import ConfigError
from partialfc.metrics.run_log import read_metrics
from partialfc.training.run import train
from tests.processes import call
from tests.train_cases import small_config, write_data

PROTOCOLS = tuple(
    Protocol(name, frozenset(options), lambda setting, values: Answer("", {}))
    for name, options in {"pairs": ["folds", "fars"], "templates": ["fars", "media"]}.items()
)


def chosen(*words: str) -> tuple[Protocol, dict[str, object]]:
    """What a command with two protocols makes of these words."""
    found = []

    def command(
        context: typer.Context,
        pairs: str = "",
        templates: str = "",
        folds: int = 10,
        fars: float = 0.1,
        media: bool = True,
        device: str = "auto",
    ) -> None:
        found.append(choose(PROTOCOLS, context))

    app = typer.Typer()
    app.command()(command)
    get_command(app)(list(words), standalone_mode=False)
    return found[0]


def test_a_protocol_gets_its_own_options():
    protocol, options = chosen("--templates", "ijb", "--fars", "0.2", "--device", "cpu")
    assert protocol is PROTOCOLS[1]
    assert options == {"templates": "ijb", "fars": 0.2, "media": True}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give one of --pairs, --templates: it says what is measured; none of them was given"),
        (("--pairs", "a", "--templates", "b"), "--pairs and --templates were given"),
        (("--pairs", "a", "--no-media"), "--media goes with --templates; --pairs does not read it: leave"),
        (("--templates", "a", "--folds", "10"), "--folds goes with --pairs; --templates does not"),
    ],
    ids=["none", "both", "another's flag", "another's option at its default"],
)
def test_wrong_combinations_are_refused_by_name(words, message):
    with pytest.raises(ConfigError, match=message):
        chosen(*words)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The command for a short run, and pairs of its own images, some of them with a wrong flag."""
    folder = tmp_path_factory.mktemp("evaluated")
    write_data(folder)
    drawn = make_pairs(open_source(folder / "train.rec"), pairs=60, seed=0)
    write_pairs(folder / "pairs.bin", PairSet(drawn.images, drawn.same ^ (np.arange(60) % 9 == 0)))
    train(small_config(folder, "train.steps=3"))
    how = ("--device", "cpu", "--trust", "tests.train_cases")
    return "evaluate", folder / "run", "--pairs", folder / "pairs.bin", *how


def test_ranks_share_the_images_and_the_first_prints(words):
    alone, shared = json.loads(call(*words, "--json").stdout), call(*words, "--json", ranks=2)
    assert shared.returncode == 0, shared.stderr
    found = json.loads(shared.stdout)  # one object: one rank prints
    ends = [{k: [*v] for k, v in each.pop("intervals").items()} for each in (found, alone)]
    assert found.pop("dtype") == alone.pop("dtype") == "float32"
    assert {name: value for name, value in found.items() if value is not None} == pytest.approx(
        {name: value for name, value in alone.items() if value is not None}, rel=1e-5
    )
    assert ends[0].keys() == ends[1].keys() == {"accuracy", "auc", "eer"}
    refused = call(*words[:2], ranks=2)
    assert "ConfigError: give one of --pairs" in refused.stderr


def test_every_figure_has_its_interval_unless_told_otherwise(words):
    printed = call(*words).stdout
    low, high = json.loads(call(*words, "--json").stdout)["intervals"]["accuracy"]
    assert f"[{low:.2%}, {high:.2%}]" in printed
    assert call(*words, "--seed", 1).stdout != printed
    assert "[" not in call(*words, "--bootstrap", 0).stdout
    assert "intervals" not in json.loads(call(*words, "--bootstrap", 0, "--json").stdout)


@pytest.mark.parametrize(
    ("options", "dtype"),
    [(("train.amp=bfloat16",), "bfloat16"), (("train.amp=bfloat16", "verification.amp=null"), "float32")],
    ids=["as it trains", "its own"],
)
def test_its_figures_are_those_of_the_run(tmp_path, options, dtype):
    """In the run's type and memory format; here in float32, where they round otherwise, on demand."""
    write_data(tmp_path)
    drawn = make_pairs(open_source(tmp_path / "train.rec"), pairs=60, seed=0)
    write_pairs(tmp_path / "pairs.bin", PairSet(drawn.images, drawn.same ^ (np.arange(60) % 9 == 0)))
    backbone = {"name": "convnet", "embedding_size": 16, "channels_last": True}
    sets = {"sets": {"own": str(tmp_path / "pairs.bin")}, "every_steps": 100}
    train(small_config(tmp_path, "train.steps=3", *options, backbone=backbone, verification=sets))
    (verified,) = (each for each in read_metrics(tmp_path / "run") if each["event"] == "verification")
    command = ("evaluate", tmp_path / "run", "--pairs", tmp_path / "pairs.bin", "--device", "cpu", "--json")
    found = json.loads(call(*command, "--bootstrap", 0).stdout)
    assert found == {name: verified[name] for name in found}
    assert found["dtype"] == dtype
    other = json.loads(call(*command, "--bootstrap", 0, "--amp", "none").stdout)
    assert (other["threshold"] == found["threshold"]) == (dtype == "float32")
    assert f" pairs in {dtype}: accuracy" in call(*command[:-1]).stdout


def test_several_published_lists_at_once(words, tmp_path):
    source, names = open_source(words[1].parent / "train.rec"), ("Ann_Bo", "Cy")
    for name, label in zip(names, (0, 1), strict=True):
        (tmp_path / name).mkdir()
        of_class = [index for index in range(len(source)) if source.read(index)[1] == label]
        for number, index in enumerate(of_class[:3], start=1):
            (tmp_path / name / f"{name}_{number:04d}.png").write_bytes(source.read(index)[0])
    sets = [
        [f"{name}\t1\t{number}" for name in names] + [f"Ann_Bo\t{number}\tCy\t1", f"Ann_Bo\t1\tCy\t{number}"]
        for number in (2, 3)
    ]
    lfw, own = tmp_path / "pairs.txt", tmp_path / "lists" / "own.csv"
    lfw.write_text("\n".join(["2\t2", *sets[0], *sets[1]]))
    own.parent.mkdir()
    own.write_text(
        "Ann_Bo/Ann_Bo_0001.png,Ann_Bo/Ann_Bo_0002.png,1\nAnn_Bo/Ann_Bo_0001.png,Cy/Cy_0001.png,0\n" * 5
    )
    more = ("--pairs", lfw, "--pairs", own, "--images", tmp_path, "--far", "0.25", "--bootstrap", 100)
    done = call(*words[:2], *words[4:], *more, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [*found] == [str(lfw), str(own)]
    assert found[str(lfw)]["pairs"] == 8
    assert found[str(lfw)]["intervals"].keys() == {"accuracy", "auc", "eer", "rank1", "tar@far=2.5e-1"}
    assert found[str(lfw)]["rank1"] == found[str(own)]["rank1"] == 1
    lines = call(*words[:2], *words[4:], *more).stdout.splitlines()
    assert [line.partition(" pairs")[0] for line in lines] == [f"{lfw}: 8", f"{own}: 10"]
    (tmp_path / "moved").mkdir()
    for name in names:
        (tmp_path / name).rename(tmp_path / "moved" / name)
    (tmp_path / "lists" / "empty").mkdir()
    apart = ("--pairs", words[3], *more[:4], "--images", tmp_path / "moved", "--images", tmp_path / "moved")
    each = call(*words[:2], *words[4:], *apart, *more[6:], "--json")
    assert each.returncode == 0, each.stderr
    assert json.loads(each.stdout)[str(own)] == found[str(own)]
    other = call(*words[:2], *words[4:], *apart[:-1], tmp_path / "lists" / "empty").stderr
    assert f"{own}: line 1: cannot read" in other
    thrice = call(*words[:2], *words[4:], *apart, "--images", tmp_path).stderr
    assert "--images is given 3 times, and 2 of the pair files name images: give it once for all" in thrice
    inside = call(*words, "--images", tmp_path).stderr
    assert f"--images is {tmp_path}: {words[3]} has its images inside: leave --images out" in inside
    more = (*more[:5], tmp_path / "moved", *more[6:])
    refused = call(*words[:2], *words[4:], *more, "--folds", 5).stderr
    assert f"{lfw}: folds is 5: it must be 2..4, so that each fold has at least 2 of the 8 pairs" in refused
