"""launch/slurm.sbatch on a real Slurm: two nodes to the end, and stopped in each way that Slurm has."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.glyph_run import FOREVER, steps_done, write_config, write_glyphs
from tests.integration.slurm_cluster import Cluster, slurm_cluster, why_not
from tests.paths import ROOT
from tests.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if lacking := why_not():
        pytest.skip(lacking)
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glyphs(tmp_path_factory.mktemp("glyphs"))


class Job:
    """A submitted run, whose length its config file can still change before it starts again."""

    def __init__(self, cluster: Cluster, folder: Path, glyphs: Path, steps: int) -> None:
        self.cluster, self.folder, self.glyphs = cluster, folder, glyphs
        self.run, self.log = folder / "run", folder / "job.log"
        self.set_steps(steps)
        self.id = cluster.command(
            *("sbatch", "--parsable", "--nodes=2", f"--output={self.log}", f"--chdir={ROOT}"),
            *("launch/slurm.sbatch", str(folder / "config.yaml"), "metrics.port=0"),
            env={"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "NPROC_PER_NODE": "1"},
        )

    def set_steps(self, steps: int) -> None:
        write_config(self.folder / "config.yaml", self.glyphs, self.run, steps=steps)

    def wait(self, reached: Callable[[], bool]) -> None:
        wait_for(reached, log=self.log, seconds=240)

    def trains(self, beyond: int = 0) -> None:
        """Waits until it has done 5 steps more than `beyond`."""
        self.wait(lambda: len(steps_done(self.run)) >= beyond + 5)

    def has_saved(self) -> int:
        """Waits until it has stopped; the step that it stopped at, which is that of its checkpoint."""
        self.wait(lambda: self.cluster.state(self.id) in ("PENDING", "CANCELLED", "FAILED"))
        found = re.findall(r"stopped by SIGTERM at step (\d+) of", self.log.read_text())
        assert found, self.log.read_text()
        step = int(found[-1])
        assert (self.run / "checkpoints" / "latest").read_text() == f"step-{step:08d}"
        return step

    def ends(self) -> None:
        self.wait(lambda: self.cluster.state(self.id) in ("COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL"))
        shown = self.cluster.show(self.id)
        assert (shown["JobState"], shown["ExitCode"]) == ("COMPLETED", "0:0"), self.log.read_text()


def test_a_job_on_two_nodes_trains_to_the_end(cluster, glyphs, tmp_path):
    job = Job(cluster, tmp_path, glyphs, steps=12)
    job.ends()
    assert "2 ranks on cpu; 12 steps" in job.log.read_text()
    assert steps_done(job.run) == list(range(1, 13))
    nodes = cluster.show(job.id)
    assert (nodes["NumNodes"], nodes["Restarts"]) == ("2", "0")


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(("scancel", "--batch", "--signal=TERM"), id="signal before the time limit"),
        pytest.param(("scontrol", "requeue"), id="requeue, as on preemption"),
    ],
)
def test_a_stopped_job_saves_goes_back_to_the_queue_and_ends(cluster, glyphs, tmp_path, stop):
    """Both signal all processes or the batch script only; either way no step is lost or done twice."""
    job = Job(cluster, tmp_path, glyphs, steps=FOREVER)
    job.trains()
    cluster.command(*stop, job.id)
    saved = job.has_saved()
    job.set_steps(saved + 6)
    job.ends()
    assert f"step-{saved:08d}, written with a world size of 2" in job.log.read_text()
    assert steps_done(job.run) == list(range(1, saved + 7))
    assert cluster.show(job.id)["Restarts"] == "1"


def test_a_cancelled_job_saves_and_stays_away(cluster, glyphs, tmp_path):
    job = Job(cluster, tmp_path, glyphs, steps=FOREVER)
    job.trains()
    cluster.command("scancel", job.id)
    assert job.has_saved() >= 5
    job.wait(lambda: not cluster.command("squeue", "--noheader", f"--jobs={job.id}"))
    assert cluster.state(job.id) == "CANCELLED"


def test_a_failed_job_is_not_tried_again(cluster, glyphs, tmp_path):
    job = Job(cluster, tmp_path, glyphs, steps=0)
    job.wait(lambda: cluster.state(job.id) == "FAILED")
    assert "train.steps" in job.log.read_text()
    assert cluster.show(job.id)["Restarts"] == "0"
