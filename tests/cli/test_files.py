"""What a disk, a file or a closed terminal does to a command: one line on stderr, and the exit status."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from partialfc.data.images.codec import encode_png
from tests.data.glyphs.fontmaker import pattern, save_font
from tests.disks import as_plain_user, fill, protect, small_disk
from tests.processes import ENVIRONMENT, call, warm_python
from tests.train_cases import saved_config
from tests.warm import FINALIZES


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a data set, its config, a finished run, and images."""
    folder = tmp_path_factory.mktemp("finished")
    config = saved_config(folder, "train.steps=3", "schedule.warmup_steps=1")
    assert call("train", config).returncode == 0
    for weight in range(2):
        save_font(folder / "fonts" / f"{weight}.ttf", {c: pattern(ord(c), weight=weight) for c in "abcdefgh"})
    (folder / "images" / "a").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 96, 96, 3)).astype(np.uint8)
    for index, picture in enumerate(pixels):
        (folder / "images" / "a" / f"{index}.png").write_bytes(encode_png(picture))
    return folder


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """What a command said that ended in an error that it foresaw."""
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if "partialfc: " in line]
    return line


PLANNED = ["--classes", "1M", "--embedding", "512", "--batch", "64", "--memory", "80GB"]
SMALLEST = ["--fonts", "{done}/fonts", "--min-faces", "2", "--holdout", "2", "--pairs", "4", "--size", "8"]
WRITING = [
    ["train", "{done}/config.yaml", "run.dir={disk}/run"],
    ["train", "{done}/config.yaml", "run.dir={disk}/done", "train.steps=5"],
    ["data", "pack", "{done}/images", "{disk}/packed"],
    ["data", "pairs", "{done}/train.rec", "{disk}/pairs.bin", "--pairs", "20"],
    ["data", "glyphs", "{disk}/glyphs", *SMALLEST],
    ["report", "{done}/run", "--output", "{disk}/report.html", "--embed", "0"],
    ["report", "{disk}/done", "--embed", "0"],
    ["plan", *PLANNED, "--plot", "{disk}/plan.png"],
    ["plot", "margins", "{disk}/margins.png"],
    ["plot", "angles", "{done}/run", "--output", "{disk}/angles.png"],
]


@pytest.mark.slow
def test_a_full_disk_is_one_line_that_says_how_much_is_free(finished, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        shutil.copytree(finished / "run", disk / "done")
        fill(disk)
        before = sorted(disk.iterdir())
        for words in WRITING:
            line = one_line(call(*(word.format(done=finished, disk=disk) for word in words)))
            assert f"{disk}/" in line
            assert "No space left on device (0 B free)" in line
        left = {path for path in disk.rglob("*") if "partial" in path.name}
        assert not left
        assert {*disk.iterdir()} - {*before} <= {disk / "run", disk / "packed"}


@pytest.mark.slow
def test_a_protected_folder_is_one_line_that_names_it(finished, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        shutil.copytree(finished / "run", disk / "done")
        protect(disk)
        for words in WRITING:
            line = one_line(call(*(word.format(done=finished, disk=disk) for word in words)))
            assert str(disk) in line


@pytest.mark.slow
def test_no_rank_waits_for_the_first_one_which_alone_writes(finished, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        failed = call("train", finished / "config.yaml", f"run.dir={disk / 'run'}", ranks=2)
        assert f"[rank 0] partialfc: {disk}/run/config.yaml: No space left on device" in failed.stderr
        assert "no answer" not in failed.stderr


@pytest.mark.slow
def test_a_disk_that_fills_up_while_a_run_trains(finished, tmp_path):
    """The log lacks lines, which is said once, and the checkpoint ends the run; with room it goes on."""
    with small_disk(tmp_path / "disk") as disk:
        steps = ["train.steps=2", "schedule.warmup_steps=1"]
        words = ["train", finished / "config.yaml", f"run.dir={disk / 'run'}"]
        assert call(*words, *steps).returncode == 0
        filling = ["backbone.name=tests.train_cases:Filling", f"backbone.options={{disk: {disk}}}"]
        failed = call(*words, *filling, "train.steps=30")
        line = one_line(failed)
        assert "CheckpointError: step-00000030 cannot be saved: " in line
        assert "No space left on device" in line
        assert "the one before, step-00000002, stays as it is" in line
        assert failed.stderr.count("lines of the run's log are missing from here, training goes on") == 1
        (disk / "filler").unlink()
        again = call(*words, "train.steps=30")
        assert again.returncode == 0, again.stderr
        assert "resumed at step 2" in again.stdout
        for text in (disk / "run" / "metrics.jsonl").read_text().splitlines():
            json.loads(text)


DAMAGED = {
    "metrics.jsonl": (b'{"event": "train", "step": 1}\n', "report", "a train record of step 1 has loss=None"),
    "checkpoints/step-00000003/.metadata": (b"torn", "evaluate", "none of the 1 checkpoints is undamaged"),
    "checkpoints": (b"a file", "evaluate", "neither a checkpoint nor a run with checkpoints"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_of_a_run_is_one_line(finished, tmp_path, name):
    content, command, message = DAMAGED[name]
    run = tmp_path / "run"
    shutil.copytree(finished / "run", run)
    pairs = tmp_path / "pairs.bin"
    assert call("data", "pairs", finished / "train.rec", pairs, "--pairs", "20").returncode == 0
    if (run / name).is_dir():
        shutil.rmtree(run / name)
    (run / name).write_bytes(content)
    options = ["--pairs", pairs] if command == "evaluate" else []
    assert message in one_line(call(command, run, *options))


def test_a_report_of_steps_without_a_finite_loss(finished, tmp_path):
    """As this version writes it, and as older ones did."""
    run = tmp_path / "run"
    shutil.copytree(finished / "run", run)
    record = {"event": "train", "step": 1, "loss": 0.5, "seconds": 1.0, "target_angle_histogram": [1, 2]}
    lines = [json.dumps(record | {"step": step, "loss": loss}) for step, loss in ((1, 2.0), (2, None))]
    lines.append(json.dumps(record | {"step": 3, "loss": float("nan")}))
    (run / "metrics.jsonl").write_text("\n".join(lines))
    drawn = call("report", run)
    assert drawn.returncode == 0, drawn.stderr
    assert "3 s" in drawn.stdout


PROGRAM = '"$PYTHON" -m partialfc'


def in_a_shell(command: str) -> subprocess.CompletedProcess[str]:
    """bash's, where PROGRAM is partialfc and ends as an interpreter does."""
    environment = ENVIRONMENT | {"PYTHON": str(warm_python().executable), FINALIZES: "1"}
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment, check=False
    )


# The reader is gone before the command begins: a pipe that is still open would take all that it prints.
UNREAD = (
    "{{ until [ -e {gone} ]; do sleep 0.01; done; {command}; }} | {{ exec <&-; touch {gone}; }}; "
    "exit ${{PIPESTATUS[0]}}"
)


@pytest.mark.parametrize(
    ("shell", "status", "says"),
    [
        ("{command} > /dev/full", 1, "partialfc: the output: No space left on device\n"),
        (UNREAD, 1, ""),
    ],
    ids=["full", "unread"],
)
def test_an_output_that_takes_nothing(finished, tmp_path, shell, status, says):
    command = f"{PROGRAM} config {finished / 'config.yaml'}"
    done = in_a_shell(shell.format(command=command, gone=tmp_path / "gone"))
    assert (done.returncode, done.stderr) == (status, says)


def test_a_run_whose_output_nobody_takes_trains_on(finished, tmp_path):
    """Its log's disk is full, or the pager that showed it has ended."""
    words = f"train {finished / 'config.yaml'} run.dir={tmp_path / 'run'}"
    done = in_a_shell(f"{PROGRAM} {words} > /dev/full")
    assert done.returncode == 0, done.stderr
    assert "what the run prints cannot be shown any more (No space left on device)" in done.stderr
    assert Path(tmp_path / "run" / "checkpoints" / "latest").read_text() == "step-00000003"


def test_a_checkpoint_that_must_not_be_read_is_not_taken_for_a_damaged_one(finished, tmp_path):
    """No older one is gone on from in its place: the run would lose what it has."""
    run = tmp_path / "run"
    shutil.copytree(finished / "run", run)
    forbidden = run / "checkpoints" / "step-00000003" / "__0_0.distcp"
    words = ["train", finished / "config.yaml", f"run.dir={run}", "train.steps=6", "checkpoint.every_steps=1"]
    forbidden.chmod(0)
    command = as_plain_user([sys.executable, "-m", "partialfc", *words])
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert one_line(done) == f"partialfc: {forbidden}: Permission denied"
    assert (run / "checkpoints" / "latest").read_text() == "step-00000003"
    forbidden.chmod(0o600)
    assert call(*words).returncode == 0
