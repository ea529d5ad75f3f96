"""metrics.jsonl."""

from tests.train_cases import small_config
from tests.training.cases import run


def test_bad_bytes_in_the_metrics_do_not_stop_a_run(folder):
    run(small_config(folder))
    with (folder / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff\xfe{}\n[1]\n")
    assert run(small_config(folder, train={"steps": 14}))["finished"]
