"""Grafana's dashboards: they read what is exported, of what is chosen, and are whole."""

import itertools
import re
import shutil

import pytest
import yaml

from partialfc.metrics import FAMILIES
from partialfc.metrics.families import Family
from tests.docker.boards import BOARDS, GRAFANA, RUN, SERVE, Board, filled
from tests.docker.promql import service_families, syntax_errors, unknown
from tests.paths import ROOT

NOT_SHOWN = {"partialfc_epoch", "partialfc_build_info", "partialfc_world_size", "partialfc_checkpoints_total"}
NOT_SHOWN |= {
    "partialfc_collective_calls_total",
    "partialfc_last_step_timestamp_seconds",
    "partialfc_loss_scale",
    "partialfc_stage",
}
EXPORTED = [
    (RUN, tuple(FAMILIES.values()), NOT_SHOWN),
    (SERVE, tuple(service_families()), {"partialfc_serve_build_info"}),
]

each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.file)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus")
@each_board
def test_prometheus_can_read_every_query(board: Board, tmp_path):
    assert syntax_errors([filled(query) for _, query in board.queries], tmp_path) == ""
    assert "unclosed" in syntax_errors(["sum(up"], tmp_path)


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        pytest.param(query, board.chosen, id=f"{board.file}-{title}")
        for board in BOARDS
        for title, query in board.queries
    ],
)
def test_a_panel_asks_for_what_is_exported_of_what_is_chosen(query, chosen):
    assert unknown(query) == []
    selectors = re.findall(r"\bpartialfc_\w+(\{[^}]*\})?", query)
    assert selectors
    assert all(chosen in selector for selector in selectors)


@pytest.mark.parametrize(("board", "families", "left_out"), EXPORTED, ids=[each[0].file for each in EXPORTED])
def test_every_metric_is_on_its_dashboard_or_left_out_knowingly(
    board: Board, families: tuple[Family, ...], left_out: set[str]
):
    text = " ".join(query for _, query in board.queries)
    names = {family.name for family in families}
    shown = {family.name for family in families if any(part in text for part in family.sample_names())}
    assert names - shown == left_out


@each_board
def test_grafana_gets_whole_panels_that_do_not_overlap(board: Board):
    ids = [panel["id"] for panel in board.json["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board.panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["description"]
    places = [panel["gridPos"] for panel in board.json["panels"]]
    for a, b in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_dashboards_are_told_apart_by_grafana():
    assert len({board.json["uid"] for board in BOARDS}) == len({board.json["title"] for board in BOARDS}) == 2
    assert {path.name for path in (GRAFANA / "dashboards").iterdir()} == {board.file for board in BOARDS}


@pytest.mark.parametrize(
    ("board", "rules"), [(RUN, "rules.yaml"), (SERVE, "serve_rules.yaml")], ids=[each.file for each in BOARDS]
)
def test_dashed_lines_are_where_the_alerts_are(board: Board, rules: str):
    text = (ROOT / "docker" / "prometheus" / rules).read_text()
    limits = [
        (panel["description"], panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"])
        for panel in board.panels
        if "thresholdsStyle" in panel["fieldConfig"]["defaults"].get("custom", {})
    ]
    assert len(limits) == 3
    for description, limit in limits:
        (alert,) = re.findall(r"alert (Partialfc\w+)", description)
        rule = text.split(f"alert: {alert}\n")[1].split("annotations:")[0]
        assert f"> {limit}\n" in rule


def test_provisioning_names_one_data_source_and_the_dashboards():
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["type"] == "prometheus"
    assert source["isDefault"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/partialfc.yaml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file"
