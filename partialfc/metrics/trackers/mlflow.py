"""MLflow: where MLFLOW_TRACKING_URI says, or the folder mlruns in the working folder."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from partialfc.metrics.trackers.tracker import TrackedRun, package

URI = "MLFLOW_TRACKING_URI"
# What MLflow asks for unless the user has decided: no reports of its use, the folder as a store, and a server
# that does not answer given up in a minute instead of a quarter of an hour.
UNLESS_SET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
PARAMETERS_AT_ONCE = 100  # as many as MLflow takes


class MLflow:
    """A run of an experiment; its parameters are the config's keys, which stay those of its start."""

    forgets = False
    settles_after = 0.0
    _package: Any
    _client: Any
    _entities: Any
    _id: str

    def require(self) -> None:
        for name, value in UNLESS_SET.items():
            os.environ.setdefault(name, value)
        self._package = package("mlflow", "mlflow")
        self._entities = self._package.entities

    def start(self, run: TrackedRun) -> str:
        self._client = self._package.MlflowClient(tracking_uri=os.environ.get(URI) or "mlruns")
        if run.id is None:
            self._id = self._create(run)
        else:
            self._id = run.id
            self._client.update_run(self._id, status="RUNNING")
        return self._id

    def _create(self, run: TrackedRun) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.project
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        identity: str = self._client.create_run(experiment, run_name=run.name).info.run_id
        parameters = [self._entities.Param(key, str(value)) for key, value in _flat(run.config)]
        for begin in range(0, len(parameters), PARAMETERS_AT_ONCE):
            self._client.log_batch(identity, params=parameters[begin : begin + PARAMETERS_AT_ONCE])
        return identity

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(
            self._id,
            metrics=[self._entities.Metric(_name(name), value, now, step) for name, value in figures.items()],
        )

    def finish(self, *, failed: bool) -> None:
        self._client.set_terminated(self._id, status="FAILED" if failed else "FINISHED")


def _name(name: str) -> str:
    """A figure's name with what MLflow takes in names: tar@far=1e-3 becomes tar_far_1e-3."""
    return re.sub(r"[^\w.\- :/]", "_", name)


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}{_name(key)}.")
        else:
            yield before + _name(key), value
