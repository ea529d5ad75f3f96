"""Grafana's dashboards as the files have them."""

import json
from typing import Any

from tests.paths import ROOT

GRAFANA = ROOT / "docker" / "grafana"


class Board:
    """One dashboard.

    Attributes:
        chosen: The selector by which its queries read the chosen run, or the chosen services.
    """

    def __init__(self, file: str, *, chosen: str) -> None:
        self.file, self.chosen = file, chosen
        self.json: dict[str, Any] = json.loads((GRAFANA / "dashboards" / file).read_text())
        self.panels = [panel for panel in self.json["panels"] if panel["type"] != "row"]
        self.queries = [
            (panel["title"], target["expr"]) for panel in self.panels for target in panel["targets"]
        ]


RUN = Board("partialfc.json", chosen='run="$run"')
SERVE = Board("serve.json", chosen='instance=~"$instance"')
BOARDS = (RUN, SERVE)


def filled(expression: str, *, run: str = "mine", instance: str = ".*") -> str:
    """A query as Grafana sends it."""
    for name, value in {"__rate_interval": "1m", "run": run, "instance": instance}.items():
        expression = expression.replace(f"${name}", value)
    return expression
