"""benchmarks/serve.py and serve_kills.py, which wrote serve.csv and serve_kills.csv: a small one of each."""

import pytest

from tests.benchmarks.measured import measured
from tests.serving.service.cases import write_model


@pytest.mark.slow
def test_a_row_for_each_number_of_clients(tmp_path):
    model = str(write_model(tmp_path / "small.onnx"))
    quick = ("--clients", "1", "4", "--seconds", "0.3")
    rows, printed = measured("serve.py", model, "convnet", *quick, folder=tmp_path)
    clients = [(model, count) for model in ("small", "convnet") for count in "14"]
    assert [(row["model"], row["clients"]) for row in rows] == clients
    assert all(int(row["requests"]) > 0 and row["other_answers"] == "0" for row in rows)
    assert all(0 < float(row["p50_ms"]) <= float(row["p99_ms"]) for row in rows)
    assert float(rows[0]["batch"]) == 1
    assert printed.count("requests_per_s") == 4


@pytest.mark.slow
def test_kills_lose_nothing(tmp_path):
    model = str(write_model(tmp_path / "small.onnx"))
    quick = ("--clients", "4", "--kills", "1", "--changes", "20")
    (row,), _ = measured("serve_kills.py", model, *quick, folder=tmp_path)
    assert (row["kills"], row["lost"], row["twice"], row["other_answers"]) == ("2", "0", "0", "0")
    assert int(row["answered"]) >= 40
