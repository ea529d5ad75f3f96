"""The command evaluate: which protocol its options choose, and that ranks share the work."""

import json

import pytest
import typer
from typer.main import get_command

from partialfc.cli.protocols.protocol import Answer, Protocol, choose
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.errors import ConfigError
from partialfc.training.run import train
from tests.processes import call
from tests.train_cases import small_config

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
        (("--pairs", "a", "--templates", "b"), "--pairs and --templates was given"),
        (("--pairs", "a", "--no-media"), "--media goes with --templates; --pairs does not read it: leave"),
        (("--templates", "a", "--folds", "10"), "--folds goes with --pairs; --templates does not"),
    ],
    ids=["none", "both", "another's flag", "another's option at its default"],
)
def test_wrong_combinations_are_refused_by_name(words, message):
    with pytest.raises(ConfigError, match=message):
        chosen(*words)


def test_ranks_share_the_images_and_the_first_prints(folder):
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=60, seed=0))
    train(small_config(folder, "train.steps=3"))
    words = ("evaluate", folder / "run", "--pairs", folder / "pairs.bin", "--json", "--device", "cpu")
    words += ("--trust", "tests.train_cases")
    alone = json.loads(call(*words).stdout)
    shared = call(*words, ranks=2)
    assert shared.returncode == 0, shared.stderr
    found = json.loads(shared.stdout)  # one object: one rank prints
    assert {name: value for name, value in found.items() if value is not None} == pytest.approx(
        {name: value for name, value in alone.items() if value is not None}, rel=1e-5
    )
    refused = call(*words[:2], ranks=2)
    assert "ConfigError: give one of --pairs" in refused.stderr
