"""A run that is tracked, interrupted and resumed, and what each tracker then holds of it.

In the working folder, with the config of the file: python -m tests.metrics.trackers.readers CONFIG

Prints JSON, as each tracker's own package reads it:
{tracker: {"runs": how many, "config": nested or by dotted keys, "figures": {name: [[step, value]]}}}
The trackers' places are those of the environment.
"""

import json
import os
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from partialfc.config import load_config
from tests.training.cases import run

Held = dict[str, Any]


def tensorboard() -> Held:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator("run/tensorboard").Reload()
    (text,) = events.Tensors("config/text_summary")
    document = text.tensor_proto.string_val[0].decode().removeprefix("```json\n").removesuffix("\n```")
    figures = {
        name: [[event.step, event.value] for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    return {"runs": 1, "config": json.loads(document), "figures": figures}


def trackio() -> Held:
    import trackio

    runs = list(trackio.Api().runs("partialfc"))
    figures: dict[str, list[Any]] = {}
    for record in trackio.sqlite_storage.SQLiteStorage.get_logs("partialfc", runs[0].name):
        _collect(figures, record.pop("step"), record)
    return {"runs": len(runs), "config": runs[0].config, "figures": figures}


def wandb() -> Held:
    folders = sorted(Path("run/wandb").glob("offline-run-*"))
    figures: dict[str, list[Any]] = {}
    config: dict[str, Any] = {}
    ids = set[str]()  # not those in the folders' names: a second start in the same second adds "-1"
    for folder in folders:
        (path,) = folder.glob("*.wandb")
        for record in _wandb_records(path):
            if record.HasField("run"):
                ids.add(record.run.run_id)
            for item in record.run.config.update or record.config.update:
                config[item.key] = json.loads(item.value_json)
            items = record.history.item
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            if row:
                _collect(figures, row.pop("step"), row)
    return {"runs": len(ids), "config": config, "figures": figures, "starts": len(folders)}


def _wandb_records(path: Path) -> Iterator[Any]:
    """wandb's package has the types of records; only its program reads the file, a log as LevelDB's."""
    from wandb.proto.wandb_internal_pb2 import Record

    block, header, last_parts = 1 << 15, 7, (1, 4)
    data = path.read_bytes()
    at, whole = header, b""
    while at + header <= len(data):
        left = block - at % block
        if left < header:  # a header does not go over the end of a block
            at += left
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + header : at + header + size]
        at += header + size
        if kind in last_parts:
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def mlflow() -> Held:
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("partialfc")
    runs = client.search_runs([experiment.experiment_id])
    figures = {
        name: [[each.step, each.value] for each in client.get_metric_history(runs[0].info.run_id, name)]
        for name in runs[0].data.metrics
    }
    config = runs[0].data.params
    return {"runs": len(runs), "config": config, "figures": figures, "status": runs[0].info.status}


def _collect(figures: dict[str, list[Any]], step: int, row: dict[str, Any]) -> None:
    for name, value in row.items():
        if not name.startswith("_") and isinstance(value, int | float):
            figures.setdefault(name, []).append([step, value])


def interrupted(path: str) -> None:
    """Stopped after some steps, of which those after the fourth are lost; then all steps."""
    config = load_config(Path(path))
    run(config)
    newest = max(Path("run/checkpoints").glob("step-*"))
    assert newest.name > "step-00000004"
    shutil.rmtree(newest)
    run(config)


if __name__ == "__main__":
    os.environ |= {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    interrupted(sys.argv[1])
    print(json.dumps({read.__name__: read() for read in (tensorboard, trackio, wandb, mlflow)}))
