"""The command `config`: what it prints, and the configs of this project."""

import json
from pathlib import Path

import yaml

from partialfc.config import Config, example_text
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


def test_a_config_is_only_read_by_config_and_plan(folder: Path) -> None:
    """As SECURITY.md says: no backbone that it names is imported, and nothing is written."""
    (folder / "planted.py").write_text("raise SystemExit(3)")
    before = sorted(folder.rglob("*"))
    named = (folder / "config.yaml", "backbone.name=planted:Net")
    for command in (("config", *named), ("plan", *named, "--memory", "80GB", "--classes", 20)):
        done = call(*command, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert sorted(folder.rglob("*")) == before
    assert call("train", *named, cwd=folder).returncode == 3  # which does as it is told


def test_a_config_that_comes_along_is_printed_as_it_is(tmp_path: Path) -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        assert example_text(path.stem) == path.read_text()
    printed = call("config", "--example", "quickstart", cwd=tmp_path)
    assert printed.stdout == (ROOT / "configs" / "quickstart.yaml").read_text()
    unknown = call("config", "--example", "quikstart", cwd=tmp_path)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no config 'quikstart' comes along; there are distill, faces_100k, " in unknown.stderr


def test_a_missing_file_with_the_name_of_a_config_that_comes_along_brings_the_way_to_it(
    tmp_path: Path,
) -> None:
    missing = call("train", "configs/folder.yaml", cwd=tmp_path)
    assert missing.returncode == 1
    assert "No such file or directory; a config of that name comes along" in missing.stderr
    assert "partialfc config --example folder > folder.yaml" in missing.stderr
    assert "comes along" not in call("train", "configs/mine.yaml", cwd=tmp_path).stderr
