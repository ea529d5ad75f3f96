"""What a run left behind."""

from pathlib import Path

from partialfc.metrics.run_log import read_metrics


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_metrics(folder / "run") if record["event"] == "train"]
