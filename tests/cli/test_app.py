"""The whole command: what an error looks like."""

import pytest

from tests.cli.cases import call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.yaml"], "ConfigError: nowhere.yaml: cannot read the config"),
        (["train", "{config}", "head.sample_rat=0.1"], "did you mean head.sample_rate"),
        (
            ["train", "{config}", "data.train=nowhere.rec"],
            "ConfigError: data.train is nowhere.rec; it must be",
        ),
        (["train", "{config}", "backbone.name=iresnet51"], "unknown backbone 'iresnet51'; known:"),
        (["evaluate", "{folder}", "--pairs", "{config}"], "PairsError"),
        (["report", "{folder}"], "is not a run"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_1(folder, arguments, message):
    places = {"config": folder / "config.yaml", "folder": folder}
    result = call(*(argument.format(**places) for argument in arguments))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert message in result.stderr
