"""What the trackers hold of a run, read back with their own packages, and what is done where one fails."""

import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from partialfc.errors import TrackerError
from partialfc.metrics.run_log import read_metrics
from partialfc.metrics.trackers import TRACKERS, Trackers
from partialfc.metrics.trackers.held import Held, read_held
from partialfc.metrics.trackers.sending import Sending, close
from partialfc.metrics.trackers.tracker import KeptError, TrackedRun
from tests.metrics.trackers.servers import Served, served
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, call, warm_python
from tests.train_cases import saved_config
from tests.waiting import wait_for

# What the reader's own environment may say is left out: nothing here may leave the machine.
OWN = ("WANDB_", "MLFLOW_", "TRACKIO_", "HF_", "NETRC")
PLAIN = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(OWN)}


def environment(folder: Path) -> dict[str, str]:
    """In which all trackers write into the folder."""
    places = {"TRACKIO_DIR": str(folder / "trackio"), "MLFLOW_TRACKING_URI": str(folder / "mlruns")}
    return PLAIN | places | {"WANDB_MODE": "offline", "HOME": str(folder)}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with a run that went on from step 4 after it had done more, and what is held of it."""
    folder = tmp_path_factory.mktemp("tracked")
    pairs = folder / "pairs.bin"
    config = saved_config(
        folder,
        f"train.trackers=[{', '.join(TRACKERS)}]",
        *("train.steps=8", "checkpoint.every_steps=4"),
        *("backbone.name=tests.train_cases:Interrupted", "backbone.options={at: 6}"),
        *(f"verification.sets.seen={pairs}", "verification.every_steps=2", "verification.folds=2"),
    )
    call("data", "pairs", folder / "train.rec", pairs, "--pairs", 20)
    done = warm_python().run(
        "-m", "tests.metrics.trackers.readers", config, env=environment(folder), cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert "resumed at step 4" in done.stdout
    return folder, json.loads(done.stdout.splitlines()[-1])


def numbers(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, float]]:
    """The numbers of a record, those of mappings in it too, by the names that docs/how-to/trackers.md has."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{before}/{name}")
        elif name not in ("step", "time") and type(value) in (int, float):
            yield f"{before}/{name}", value


@pytest.mark.slow
@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_holds_the_numbers_of_the_log_once(tracked, tracker):
    folder, held = tracked
    figures = held[tracker]["figures"]
    expected: dict[str, list[list[float]]] = {}
    for record in read_metrics(folder / "run"):
        before = "/".join(record[each] for each in ("event", "set") if each in record)
        for name, value in numbers(record, before):
            called = re.sub("[@=]", "_", name) if tracker == "mlflow" else name
            expected.setdefault(called, []).append([record["step"], value])
    assert expected.keys() >= {"train/loss", "train/lr", "verification/seen/accuracy"}
    assert figures.keys() == expected.keys()
    for name, values in expected.items():
        found = sorted(figures[name])
        if not name.startswith("checkpoint/"):  # one of them was lost in between
            assert [step for step, _ in found] == [step for step, _ in values], name
        if "second" not in name:  # the steps that were done again took another time
            assert found == [pytest.approx(each, rel=1e-6, abs=1e-30) for each in values], name
    assert held[tracker]["runs"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_holds_the_config(tracked, tracker):
    _, held = tracked
    config = held[tracker]["config"]
    rate = config.get("optimizer.lr") or config["optimizer"]["lr"]
    assert float(rate) == 0.1


@pytest.mark.slow
def test_a_resumed_run_is_one_run(tracked):
    folder, held = tracked
    assert held["wandb"]["starts"] == 2  # the two commands
    assert held["mlflow"]["status"] == "FINISHED"
    assert sorted(json.loads((folder / "run" / "trackers.json").read_text())) == sorted(
        [*TRACKERS, "project"]
    )


@pytest.mark.slow
def test_only_the_first_rank_tracks(tmp_path):
    config = saved_config(tmp_path, "train.trackers=[tensorboard, mlflow]", "train.steps=3")
    done = call("train", config, ranks=2, cwd=tmp_path, environment=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    assert len(list((tmp_path / "mlruns").glob("*/*/metrics"))) == 1


def test_wandb_without_a_key_says_what_to_do(tmp_path):
    environment = {name: value for name, value in PLAIN.items() if name != "WANDB_MODE"}
    done = call(
        *("train", saved_config(tmp_path), "train.steps=3", "train.trackers=[wandb]"),
        environment=environment | {"HOME": str(tmp_path)},
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("partialfc: TrackerError: train.trackers: wandb has no key")
    assert "`wandb login`" in last
    assert "WANDB_MODE=offline" in last
    assert "Traceback" not in done.stderr


AWAY = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def begin(folder: Path, *names: str, start_step: int = 0, logged: int = 0) -> Trackers:
    """Trackers of a run that goes on from start_step; its log has as many steps as are logged."""
    trackers = Trackers(names, project="partialfc", run="mine", config={"train": {"steps": 3}})
    before = [line(step) for step in range(1, logged + 1)]
    trackers.begin(folder, start_step, before)
    return trackers


def line(step: int) -> dict[str, Any]:
    """Of a run's log."""
    return {"event": "train", "step": step, "time": 1.5, "loss": step / 2}


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's server does not answer."""
    for name, value in AWAY.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("away")
def test_a_tracker_that_cannot_start_is_an_error_of_the_first_start(tmp_path):
    with pytest.raises(
        TrackerError, match=r"mlflow cannot start: .*127\.0\.0\.1.*leave mlflow out"
    ) as caught:
        begin(tmp_path, "mlflow")
    assert "\n" not in str(caught.value)


class Stuck:
    """A tracker whose server has taken the figures, and does not say so."""

    forgets = False
    settles_after = 0.0

    def __init__(self) -> None:
        self.answered = threading.Event()

    def require(self) -> None:
        pass

    def start(self, run: TrackedRun) -> str:
        return ""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self.answered.wait()

    def finish(self, *, failed: bool) -> None:
        pass


class Refusing(Stuck):
    """A tracker that takes no run."""

    def start(self, run: TrackedRun) -> str:
        raise ValueError("no such project")


def test_where_one_cannot_start_those_before_it_end_and_are_gone_on_with(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    monkeypatch.setitem(TRACKERS, "refusing", Refusing)
    for _ in range(2):
        with pytest.raises(TrackerError, match="refusing cannot start: ValueError: no such project"):
            begin(tmp_path, "mlflow", "refusing")
    client = mlflow.MlflowClient(tracking_uri=str(tmp_path / "mlruns"))
    (run,) = client.search_runs([client.get_experiment_by_name("partialfc").experiment_id])
    assert run.info.status == "FAILED"


@pytest.mark.usefixtures("away")
def test_a_resumed_run_goes_on_without_a_tracker_that_cannot_start(tmp_path, caplog):
    trackers = begin(tmp_path, "tensorboard", "mlflow", start_step=3)
    trackers.record("train", 4, {"loss": 1.0})
    trackers.close(failed=False)
    assert "mlflow cannot start" in caplog.text
    assert "training goes on without it" in caplog.text
    assert json.loads((tmp_path / "trackers.json").read_text()).keys() == {"project", "tensorboard"}


def test_what_mlflow_keeps_in_a_folder_is_read_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    begin(tmp_path, "mlflow").close(failed=False)
    page = (ROOT / "docs" / "how-to" / "trackers.md").read_text()
    (said,) = re.findall(r"`(\w+)=(\w+) mlflow ui`", page)
    read = "import mlflow; print([each.name for each in mlflow.MlflowClient().search_experiments()])"
    done = warm_python().run(
        "-c", read, env=PLAIN | dict([said]) | {"MLFLOW_DISABLE_TELEMETRY": "true"}, cwd=tmp_path
    )
    assert "partialfc" in done.stdout, done.stderr


def test_a_store_that_goes_away_is_told_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    trackers = begin(tmp_path, "mlflow")
    trackers.record("train", 1, {"loss": 1.0})
    loss = "mlruns/*/*/metrics/train/loss"
    wait_for(lambda: any(each.stat().st_size for each in tmp_path.glob(loss)), log=tmp_path / "no log")
    shutil.rmtree(tmp_path / "mlruns")
    for step in (2, 3):
        trackers.record("train", step, {"loss": 1.0})
    trackers.close(failed=False)
    (said,) = (record.message for record in caplog.records if record.name.startswith("partialfc"))
    assert said.startswith("train.trackers: mlflow: ")
    assert said.endswith("figures of the run are missing there, training goes on")


def test_a_tracker_that_never_answers_holds_nothing_up(tmp_path, caplog):
    tracker = Stuck()
    sending = Sending("stuck", tracker, Held(tmp_path / "stuck.json", {}))
    sending.put("train", 1, {"train/loss": 1.0})
    close([sending], failed=False, seconds=0.05)
    tracker.answered.set()
    assert "stuck does not end" in caplog.text


KILLED = """
import os, signal
from pathlib import Path
from tests.metrics.trackers.test_trackers import begin, line
trackers = begin(Path("run"), *{names})
for step in (1, 2, 3):
    trackers.record("train", step, line(step))
os.kill(os.getpid(), signal.SIGKILL)
"""
RESUMED = """
import json
from pathlib import Path
from tests.metrics.trackers import readers
from tests.metrics.trackers.test_trackers import begin, line
trackers = begin(Path("run"), *{names}, start_step=2, logged=3)
for step in (3, 4):
    trackers.record("train", step, line(step))
trackers.close(failed=False)
print(json.dumps({{name: getattr(readers, name)()["figures"] for name in {names}}}))
"""


@pytest.mark.slow
def test_what_a_kill_took_from_a_tracker_is_given_again(tmp_path):
    """What waited to be sent, and what a tracker had not written yet."""
    (tmp_path / "run").mkdir()
    places = environment(tmp_path)
    names = [*TRACKERS]
    killed = warm_python().run("-c", KILLED.format(names=names), env=places, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = warm_python().run("-c", RESUMED.format(names=names), env=places, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name, figures in json.loads(done.stdout.splitlines()[-1]).items():
        held = figures["train/loss"]
        assert dict(held) == {1: 0.5, 2: 1.0, 3: 1.5, 4: 2.0}, name
        assert "train/time" not in figures
        assert "train/step" not in figures


def test_a_tracker_that_is_named_later_gets_the_whole_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    begin(tmp_path, "tensorboard").close(failed=False)
    trackers = begin(tmp_path, "tensorboard", "mlflow", start_step=3, logged=3)
    trackers.record("train", 4, line(4))
    trackers.close(failed=False)
    (file,) = tmp_path.glob("mlruns/*/*/metrics/train/loss")
    assert [line.split()[1:] for line in file.read_text().splitlines()] == [
        ["0.5", "1"],
        ["1.0", "2"],
        ["1.5", "3"],
        ["2.0", "4"],
    ]


class Failing(Stuck):
    """A tracker whose server is away: each call fails, in its own time."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self.calls += 1
        self.answered.wait()
        raise ConnectionError("no answer")

    def finish(self, *, failed: bool) -> None:
        raise ConnectionError("no answer")


def test_what_waits_for_a_tracker_that_fails_is_given_up_when_the_run_ends(tmp_path, caplog):
    trackers = [Failing(), Failing()]
    sendings = [
        Sending(f"away{number}", each, Held(tmp_path / f"{number}.json", {}))
        for number, each in enumerate(trackers)
    ]
    for sending in sendings:
        for step in range(100):
            sending.put("train", step, {"train/loss": 1.0})
        sending.end(failed=False)
    for each in trackers:
        each.answered.set()
    close(sendings, failed=False)
    assert [each.calls for each in trackers] == [1, 1]
    assert sorted(record.message for record in caplog.records) == [
        f"train.trackers: away{number}: ConnectionError: no answer; figures of the run are missing there, "
        "training goes on"
        for number in range(2)
    ]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, environment(tmp_path)) as running:
        yield running


def with_servers(folder: Path, servers: Served, *words: str) -> Path:
    return saved_config(folder, "train.trackers=[trackio, wandb, mlflow]", "train.steps=6", *words)


@pytest.mark.slow
def test_servers_get_the_numbers_of_the_log(tmp_path, servers):
    done = call("train", with_servers(tmp_path, servers), environment=servers.environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    losses = [
        [each["step"], each["loss"]] for each in read_metrics(tmp_path / "run") if each["event"] == "train"
    ]
    assert len(losses) == 6
    for tracker, found in servers.held("train/loss").items():
        assert sorted(found) == losses, tracker


@pytest.mark.slow
def test_a_run_goes_on_without_servers_that_answer_no_more(tmp_path, servers):
    """They stop in the middle of the run, and take what is sent without an answer."""
    leaving = (
        "backbone.name=tests.metrics.trackers.servers:Leaving",
        f"backbone.options={{pids: {servers.pids}}}",
    )
    config = with_servers(tmp_path, servers, *leaving)
    environment = servers.environment | {"WANDB_FINISH_TIMEOUT": "2"}
    done = call("train", config, environment=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    steps = [each["step"] for each in read_metrics(tmp_path / "run") if each["event"] == "train"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "run/checkpoints/step-00000006").is_dir()
    said = re.findall(r"train\.trackers: (.*)", done.stderr)
    assert sorted(line.partition(":")[0] for line in said) == ["mlflow", "trackio", "wandb"], done.stderr
    assert all(line.endswith("are missing there, training goes on") for line in said)
    assert "Traceback" not in done.stderr

    for pid in servers.pids:
        os.kill(pid, signal.SIGCONT)
    done = call("train", config, "train.steps=8", environment=servers.environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    held = servers.held("train/loss")
    assert sorted(step for step, _ in held["trackio"]) == [*range(1, 9)]
    assert len({step for step, _ in held["wandb"]}) == len(held["wandb"])


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_tracker_keeps_to_send_later_is_not_given_again(tmp_path, kept):
    class Late(Stuck):
        settles_after = 1e9

        def log(self, step: int, figures: Mapping[str, float]) -> None:
            pass

        def finish(self, *, failed: bool) -> None:
            raise KeptError("later") if kept else TrackerError("lost")

    held = Held(tmp_path / "late.json", {"train": 3}, settles_after=1e9)
    sending = Sending("late", Late(), held)
    for step in (4, 5):
        sending.put("train", step, {"train/loss": 1.0})
    close([sending], failed=False)
    assert read_held(tmp_path / "late.json") == ({"train": 5} if kept else None)


def test_a_run_stays_in_the_project_in_which_it_began(tmp_path):
    script = "\n".join(
        [
            "from pathlib import Path",
            "from partialfc.metrics.trackers import Trackers",
            "from tests.metrics.trackers.test_trackers import line",
            "for project, done in (('faces', 0), ('others', 3)):",
            "    trackers = Trackers(['trackio'], project=project, run='mine', config={})",
            "    trackers.begin(Path('run'), done, [line(step) for step in range(1, done + 1)])",
            "    for step in range(done + 1, done + 4):",
            "        trackers.record('train', step, line(step))",
            "    trackers.close(failed=False)",
            "import trackio",
            "for run in trackio.Api().runs('faces'):",
            "    logs = trackio.sqlite_storage.SQLiteStorage.get_logs('faces', run.name)",
            "    print(run.name, [row['step'] for row in logs])",
            "print(*(path.name for path in Path('trackio').glob('*.db')))",
        ]
    )
    (tmp_path / "run").mkdir()
    done = warm_python().run("-c", script, env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["mine [1, 2, 3, 4, 5, 6]", "faces.db"]
    assert "train.tracker_project is 'others', but the run began in 'faces': it goes on there" in done.stderr


def test_another_run_folder_of_the_same_name_is_another_run(tmp_path):
    """Trackio knows runs by their names."""
    script = "\n".join(
        [
            "from pathlib import Path",
            "from tests.metrics.trackers.test_trackers import begin",
            "for folder, step in (('a', 0), ('b', 0), ('a', 3)):",
            "    Path(folder).mkdir(exist_ok=True)",
            "    trackers = begin(Path(folder), 'trackio', start_step=step)",
            "    trackers.record('train', step + 1, {'loss': 1.0})",
            "    trackers.close(failed=False)",
            "import trackio",
            "for run in trackio.Api().runs('partialfc'):",
            "    logs = trackio.sqlite_storage.SQLiteStorage.get_logs('partialfc', run.name)",
            "    print(run.name, [row['step'] for row in logs])",
        ]
    )
    done = warm_python().run("-c", script, env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["mine [1, 4]", "mine-2 [1]"]
