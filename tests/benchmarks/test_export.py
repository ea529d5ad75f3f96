"""benchmarks/export.py: a row for each network and form, measured once; and the committed rows."""

import csv

import pytest

from tests.benchmarks.measured import measured
from tests.paths import ROOT

FORMS = ["torch", "onnx", "int8"]


@pytest.mark.slow
def test_a_network_has_a_row_for_each_form_and_is_measured_once(tmp_path):
    quick = ("--backbones", "convnet", "--rounds", "1")
    rows, printed = measured("export.py", *quick, folder=tmp_path)
    assert [(row["network"], row["form"]) for row in rows] == [("convnet", form) for form in FORMS]
    assert int(rows[2]["bytes"]) < int(rows[1]["bytes"]) / 2
    assert "convnet int8: " in printed
    again, printed = measured("export.py", *quick, folder=tmp_path)
    assert again == rows
    assert "images/s" not in printed


def test_the_committed_rows_have_each_form_and_say_what_8_bits_cost():
    with (ROOT / "benchmarks" / "export.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["form"] for row in rows] == FORMS * (len(rows) // 3)
    costs = {row["network"]: row["accuracy"] for row in rows if row["form"] == "int8" and row["accuracy"]}
    assert costs
    assert all(row["machine"] for row in rows)


def test_8_bits_are_slower_in_no_committed_row():
    with (ROOT / "benchmarks" / "export.csv").open() as file:
        speeds = {(row["network"], row["form"]): float(row["images_per_s"]) for row in csv.DictReader(file)}
    networks = {network for network, _ in speeds}
    assert networks >= {"quickstart", "vit", "vargfacenet", "mobilefacenet", "iresnet50"}
    assert [each for each in networks if speeds[each, "int8"] < speeds[each, "onnx"]] == []
