"""The command `config`: what it prints, and the configs of this project."""

import json

import yaml

from partialfc.config import Config
from tests.paths import ROOT
from tests.processes import call


def test_config_prints_what_a_run_would_use_and_its_schema(folder):
    printed = call("config", folder / "config.yaml", "optimizer.lr=0.25")
    assert Config.model_validate(yaml.safe_load(printed.stdout)).optimizer.lr == 0.25
    schema = json.loads(call("config", "--schema").stdout)
    assert schema["title"] == "Config"


def test_every_committed_config_is_valid():
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        result = call("config", path)
        assert result.returncode == 0, result.stderr
