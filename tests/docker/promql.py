"""What a PromQL expression reads, held against what partialfc exports."""

import re
import subprocess
from pathlib import Path

import yaml
from prometheus_client.metrics import MetricWrapperBase as Collector

from partialfc.metrics import FAMILIES
from partialfc.metrics.families import Family
from partialfc.serving.service.numbers import Numbers

SUFFIXES = {"counter": "_total", "info": "_info"}  # that prometheus-client adds itself


def service_families() -> list[Family]:
    """What `partialfc serve` exports, as FAMILIES has what ranks do."""
    metrics = [each for each in vars(Numbers(version="", model="")).values() if isinstance(each, Collector)]
    return [
        Family(described.type, described.name + SUFFIXES.get(described.type, ""), "", metric._labelnames)
        for metric in metrics
        for described in metric.describe()
    ]


EVERYWHERE = {"run", "rank", "instance", "job"}  # labels of every sample
EXPORTED = (*FAMILIES.values(), *service_families())
BY_NAME = {name: family for family in EXPORTED for name in family.sample_names()}
OTHERS = {"up"}  # metrics that Prometheus makes itself


def unknown(expression: str) -> list[str]:
    """Metrics, labels and label values of the expression that no rank exports; empty when all is well."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    groupings = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", bare)
    grouped = {label.strip() for labels in groupings for label in labels.split(",")}
    used = re.findall(r"\b(partialfc_\w+|up)\b(?:\{([^}]*)\})?", expression)
    found, known = [], set(EVERYWHERE)
    for name, selector in used:
        if name in OTHERS:
            continue
        if name not in BY_NAME:
            found.append(f"metric {name}")
            continue
        family = BY_NAME[name]
        labels = {*family.labels, *({"le"} if name.endswith("_bucket") else ())}
        known |= labels
        for label, value in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', selector):
            if label not in labels | EVERYWHERE:
                found.append(f"label {label} of {name}")
            elif label in family.labels and family.values:
                wrong = set(value.split("|")) - set(family.values)
                found += [f"value {each} of label {label} of {name}" for each in sorted(wrong)]
    return found + [f"label {label} of no metric in it" for label in sorted(grouped - known)]


def syntax_errors(expressions: list[str], folder: Path) -> str:
    """What promtool says of them; empty when it can parse them all."""
    rules = [{"record": f"checked:{index}", "expr": text} for index, text in enumerate(expressions)]
    path = folder / "expressions.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    result = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else result.stdout + result.stderr
