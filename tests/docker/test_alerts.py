"""The alert rules: what promtool says of them, and that they read what ranks and services export."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docker.promql import unknown
from tests.paths import ROOT

FOLDER = ROOT / "docker" / "prometheus"
FILES = ("rules.yaml", "serve_rules.yaml")
RULES = {
    file: [rule for group in yaml.safe_load((FOLDER / file).read_text())["groups"] for rule in group["rules"]]
    for file in FILES
}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: install prometheus"
)


def promtool(*arguments: str | Path) -> None:
    result = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def cases(file: str) -> Path:
    return FOLDER / file.replace(".yaml", "_test.yaml")


@needs_promtool
def test_prometheus_takes_the_settings_and_the_rules(tmp_path):
    """The token must be there for promtool, though not for Prometheus."""
    for name in ("prometheus.yaml", *FILES):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "token").touch()
    promtool("check", "config", tmp_path / "prometheus.yaml")
    assert yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["rule_files"] == list(FILES)
    for name in FILES:
        promtool("check", "rules", FOLDER / name)


@needs_promtool
@pytest.mark.parametrize("file", FILES)
def test_each_alert_fires_when_it_should_and_only_then(file):
    promtool("test", "rules", cases(file))


@needs_promtool
@pytest.mark.parametrize(
    ("file", "limit", "other", "alert"),
    [
        ("rules.yaml", "> 1.5", "> 1.9", "PartialfcStraggler"),
        ("serve_rules.yaml", "> 0.05", "> 0.07", "PartialfcServeErrors"),
        ("serve_rules.yaml", "> 0.05", "> 0.03", "PartialfcServeErrors"),
        ("serve_rules.yaml", "> 0.01", "> 0.03", "PartialfcServeQueueFull"),
        ("serve_rules.yaml", "> 0.01", "> 0.005", "PartialfcServeQueueFull"),
        ("serve_rules.yaml", "> 1\n", "> 2\n", "PartialfcServeSlow"),
        ("serve_rules.yaml", "for: 2m", "for: 9m", "PartialfcServeDown"),
    ],
    ids=["straggler", "errors-more", "errors-less", "queue-more", "queue-less", "slow", "down"],
)
def test_the_rules_test_would_notice_a_changed_threshold(tmp_path, file, limit, other, alert):
    """promtool's silence means something: with another limit the same cases fail."""
    rules = (FOLDER / file).read_text()
    assert limit in rules
    (tmp_path / file).write_text(rules.replace(limit, other))
    shutil.copy(cases(file), tmp_path)
    with pytest.raises(AssertionError, match=alert):
        promtool("test", "rules", tmp_path / cases(file).name)


@pytest.mark.parametrize(
    ("file", "rule"),
    [pytest.param(file, rule, id=rule["alert"]) for file in FILES for rule in RULES[file]],
)
def test_an_alert_reads_what_is_exported_and_says_what_to_do(file, rule):
    assert unknown(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert f'alertname="{rule["alert"]}"' in cases(file).read_text()  # some case expects it to fire


def test_the_tables_in_the_docs_are_those_of_the_rules():
    text = (FOLDER.parents[1] / "docs" / "reference" / "alerts.md").read_text()
    told = re.findall(r"^\| `(Partialfc\w+)` \|.*\| (\w+) \|$", text, re.MULTILINE)
    assert told == [(rule["alert"], rule["labels"]["severity"]) for file in FILES for rule in RULES[file]]


def test_wrong_names_are_found():
    assert unknown("rate(partialfc_image_total[5m])") == ["metric partialfc_image_total"]
    assert unknown('partialfc_phase_seconds_sum{phase="lunch"}') == [
        "value lunch of label phase of partialfc_phase_seconds_sum"
    ]
    assert unknown('partialfc_loss{set="lfw"}') == ["label set of partialfc_loss"]
    assert unknown("sum by (far) (partialfc_loss)") == ["label far of no metric in it"]
