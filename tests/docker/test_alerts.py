"""The alert rules: what promtool says of them, and that they read what ranks export."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docker.promql import unknown
from tests.paths import ROOT

FOLDER = ROOT / "docker" / "prometheus"
RULES = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: install prometheus"
)


def promtool(*arguments: str | Path) -> None:
    result = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_prometheus_takes_the_settings_and_the_rules(tmp_path):
    promtool("check", "config", FOLDER / "prometheus.yaml")
    promtool("check", "rules", FOLDER / "rules.yaml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then():
    promtool("test", "rules", FOLDER / "rules_test.yaml")


@needs_promtool
def test_the_rules_test_would_notice_a_changed_threshold(tmp_path):
    """promtool's silence means something: with another limit the same cases fail."""
    rules = (FOLDER / "rules.yaml").read_text()
    (tmp_path / "rules.yaml").write_text(rules.replace("> 1.5", "> 1.9"))
    shutil.copy(FOLDER / "rules_test.yaml", tmp_path)
    with pytest.raises(AssertionError, match="PartialfcStraggler"):
        promtool("test", "rules", tmp_path / "rules_test.yaml")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_reads_what_is_exported_and_says_what_to_do(rule):
    assert unknown(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description"}
    cases = (FOLDER / "rules_test.yaml").read_text()
    assert f'alertname="{rule["alert"]}"' in cases  # some case expects it to fire


def test_the_table_in_the_docs_is_that_of_the_rules():
    text = (FOLDER.parents[1] / "docs" / "reference" / "alerts.md").read_text()
    told = re.findall(r"^\| `(Partialfc\w+)` \|.*\| (\w+) \|$", text, re.MULTILINE)
    assert told == [(rule["alert"], rule["labels"]["severity"]) for rule in RULES]


def test_wrong_names_are_found():
    assert unknown("rate(partialfc_image_total[5m])") == ["metric partialfc_image_total"]
    assert unknown('partialfc_phase_seconds_sum{phase="lunch"}') == [
        "value lunch of label phase of partialfc_phase_seconds_sum"
    ]
    assert unknown('partialfc_loss{set="lfw"}') == ["label set of partialfc_loss"]
    assert unknown("sum by (far) (partialfc_loss)") == ["label far of no metric in it"]
