"""The doctor on one rank: every check that can be red is made red, by the real thing where a test can."""

import contextlib
import json
import os
import pty
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from typer.testing import CliRunner, Result

import partialfc
from partialfc.cli.app import app
from partialfc.config import Config
from partialfc.data.images.codec import encode_png
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.insightface import write_source
from partialfc.data.sources.source import open_source
from partialfc.doctor import Check, Level, Report, describe, examine, to_dict
from partialfc.doctor.check import attempt, gathered, green, red, yellow
from partialfc.doctor.cost import Waiting
from partialfc.doctor.data import Labels, judge_class_sizes, read_labels
from partialfc.doctor.devices import judge_backend, judge_cpu
from partialfc.doctor.disk import check_writing, judge_room, judge_writing
from partialfc.doctor.limits import check_shared_memory, judge_files, judge_shared_memory
from partialfc.doctor.lines import named
from partialfc.doctor.loading import judge_loading
from partialfc.doctor.memory_fit import NO_LIMIT, cgroup_room, judge_memory
from partialfc.doctor.software import judge_versions
from partialfc.plan import Setting, memory_of
from partialfc.training.run import train
from tests import train_cases
from tests.paths import ROOT

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path):
    train_cases.write_data(tmp_path)
    return tmp_path


def examined(config: Config | None, *, quick: bool = False) -> Report:
    reports = list[Report]()
    level = examine(config, quick=quick, timeout=5, show=reports.append)
    (report,) = reports
    assert report.level == level
    return report


def quick(folder: Path, *overrides: str, **sections: dict[str, Any]) -> Report:
    return examined(train_cases.small_config(folder, *overrides, **sections), quick=True)


def found(report: Report, name: str) -> Check:
    (check,) = [each.check for each in report.findings if each.check.name == name]
    return check


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


@contextlib.contextmanager
def soft_limit(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def saved_config(folder: Path, *overrides: str) -> Path:
    path = folder / "config.yaml"
    config = train_cases.small_config(folder, *overrides)
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return path


class Broken(nn.Module):
    """Cannot train: its forward pass fails."""

    def __init__(self, *, embedding_size: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.layer = nn.Linear(image_size, embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("no such layer")


class Hungry(Broken):
    """Runs out of memory, as torch says it on a GPU."""

    def forward(self, images: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("tried to allocate 80 GiB")


# The whole


def test_a_sound_job_is_green_and_measured(folder):
    report = examined(train_cases.small_config(folder))
    assert report.level != Level.RED, describe(report, colour=False)
    names = [each.check.name for each in report.findings]
    assert {"step", "loading", "disk writing", "memory", "labels"} <= set(names)
    assert names.index("loading") < names.index("records"), "decoding would take cores from what is timed"
    assert "of 20 classes" in found(report, "data").says
    assert not list((folder / "run").glob("*")), "the doctor leaves nothing behind"


def test_without_a_config_only_the_machine_is_examined():
    report = examined(None, quick=True)
    names = {each.check.name for each in report.findings}
    assert {"versions", "device", "open files"} <= names
    assert not {"data", "memory", "disk space"} & names


def test_the_exit_status_and_json_say_it(folder):
    config = saved_config(folder)
    fine = invoke(config, "--quick", "--json")
    assert fine.exit_code == 0, fine.output
    assert json.loads(fine.stdout)["level"] != "red"
    bad = invoke(config, "data.num_classes=10", "--quick", "--json")
    assert bad.exit_code == 1
    report = json.loads(bad.stdout)
    assert report["level"] == "red"
    (check,) = [each for each in report["checks"] if each["name"] == "num_classes"]
    assert check["level"] == "red"
    assert check["ranks"] == [0]
    assert "20" in check["remedy"]


def test_a_terminal_gets_colours_and_a_file_none(folder):
    config = saved_config(folder, "data.num_classes=10")
    assert "\033[" not in invoke(config, "--quick").stdout
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "partialfc", "doctor", str(config), "--quick"]
    process = subprocess.run(command, stdout=theirs, env=ENVIRONMENT, check=False)
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert process.returncode == 1
    assert b"\033[32mgreen" in shown
    assert b"\033[31mred" in shown


def test_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"partialfc {partialfc.__version__}\n"


# Lines


def test_a_line_has_the_level_the_ranks_and_the_remedy():
    report = gathered([[green("a", "fine")], [red("a", "broken", "mend it")], [green("a", "good")]])
    lines = describe(report, colour=False).splitlines()
    assert lines == ["red     a             rank 1: broken -> mend it", "1 red: this job should not start"]
    assert to_dict(report)["checks"][1]["ranks"] == [1]


def test_what_only_some_ranks_check_names_no_rank_and_yellow_lets_the_job_start():
    report = gathered([[green("a", "x"), yellow("b", "slow", "hurry")], [green("a", "y")]])
    lines = describe(report, colour=False).splitlines()
    assert lines[0] == "green   a             x"
    assert lines[1] == "yellow  b             slow -> hurry"
    assert lines[2] == "1 yellow, 1 green: this job can start"


@pytest.mark.parametrize(
    ("ranks", "text"), [([3], "rank 3"), ([0, 1, 2, 5], "ranks 0-2, 5"), ([0, 2, 3], "ranks 0, 2-3")]
)
def test_ranks_are_named_in_runs(ranks, text):
    assert named(ranks) == text


def test_a_check_that_fails_itself_is_red():
    def check() -> Check:
        raise RuntimeError("first line\nsecond line")

    made = attempt("name", check)
    assert made.level == Level.RED
    assert made.says == "RuntimeError: first line"


# Software and devices


def test_ranks_with_other_versions_are_red():
    check = judge_versions({0: {"torch": "2.13.0"}, 2: {"torch": "2.12.1"}})  # rank 1 is silent
    assert check.level == Level.RED
    assert "2.12.1 on rank 2" in check.says
    assert judge_versions({0: {"torch": "2.13.0"}, 1: {"torch": "2.13.0"}}).level == Level.GREEN
    assert "missing on rank 1" in judge_versions({0: {"dali": "2.4"}, 1: {}}).says


@pytest.mark.slow
def test_no_compiler_is_yellow(tmp_path):
    environment = {**ENVIRONMENT, "CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "partialfc", "doctor"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    assert "yellow  compile" in result.stdout
    assert "install a C++ compiler" in result.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_red(folder):
    check = found(quick(folder, "train.device=cuda"), "device")
    assert check.level == Level.RED
    assert "this machine has 0" in check.says
    assert "train.device=cpu" in check.remedy


def test_crowded_cores_and_an_unused_gpu_are_yellow():
    assert judge_cpu(8, 4, 2, load=1.0, unused_gpu=False).level == Level.GREEN
    crowded = judge_cpu(8, 8, 2, load=1.0, unused_gpu=False)
    assert crowded.level == Level.YELLOW
    assert crowded.remedy.endswith("to 4")
    assert "CUDA build" in judge_cpu(8, 4, 2, load=1.0, unused_gpu=True).remedy
    assert "load is 20.0" in judge_cpu(8, 4, 2, load=20.0, unused_gpu=False).says


def test_gpus_without_nccl_are_red():
    assert judge_backend("cuda", 2, nccl=False, interface=None).level == Level.RED
    assert judge_backend("cuda", 1, nccl=False, interface=None).level == Level.GREEN
    assert "eth1" in judge_backend("cuda", 2, nccl=True, interface="eth1").says


# Memory and the step


def test_a_head_too_large_is_red_and_says_what_would_fit(folder):
    check = found(quick(folder, "data.num_classes=10_000_000_000", "head.sample_rate=0.001"), "memory")
    assert check.level == Level.RED
    assert "does not fit" in check.says
    check = found(quick(folder, "data.num_classes=10_000_000_000", "head.sample_rate=0.001"), "disk space")
    assert check.level == Level.RED


def test_memory_is_judged_by_the_plan_and_what_the_backbone_takes():
    setting = Setting(classes=10_000_000, embedding=512, gpus=8, batch=128, sample_rate=0.1)
    roomy = judge_memory(setting, backbone=2 << 30, available=80 << 30, with_activations=True)
    assert roomy.level == Level.GREEN
    need = memory_of(setting).total + (2 << 30)
    tight = judge_memory(setting, backbone=2 << 30, available=need, with_activations=True)
    assert tight.level == Level.YELLOW
    small = judge_memory(setting, backbone=2 << 30, available=need - 1, with_activations=True)
    assert small.level == Level.RED
    assert "--" in small.remedy
    hopeless = judge_memory(setting, backbone=2 << 30, available=1 << 30, with_activations=True)
    assert "train.batch_size" in hopeless.remedy


def write_group(folder: Path, names: tuple[str, str, str], limit: str, taken: int, cached: int) -> None:
    folder.mkdir(parents=True)
    for name, text in zip(names, (limit, str(taken), f"anon 1\n{names[2]} {cached}\n"), strict=True):
        (folder / (name if "file" not in name else "memory.stat")).write_text(text)


def test_the_narrowest_limit_of_the_own_group_and_those_above_counts(tmp_path):
    names = ("memory.max", "memory.current", "inactive_file")
    write_group(tmp_path / "slurm" / "job_7", names, "4000", 1500, 500)
    write_group(tmp_path / "slurm" / "job_7" / "step_0", names, "max", 1000, 0)
    assert cgroup_room(tmp_path, "0::/slurm/job_7/step_0\n") == 3000
    assert cgroup_room(tmp_path, "0::/slurm\n") == NO_LIMIT
    assert cgroup_room(tmp_path, "") == NO_LIMIT


def test_the_first_version_of_groups_has_limits_too(tmp_path):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    write_group(tmp_path / "memory", names, str(2**63 - 4096), 0, 0)
    write_group(tmp_path / "memory" / "docker" / "a", names, "4000", 1500, 0)
    own = "9:name=systemd:/\n4:cpuset,memory:/docker/a\n0::/\n"
    assert cgroup_room(tmp_path, own) == 2500
    assert cgroup_room(tmp_path, "4:memory:/seen/from/outside\n") >= NO_LIMIT


def test_a_backbone_that_does_not_exist_or_does_not_run_is_red(folder):
    check = found(quick(folder, "backbone.name=iresnet51"), "backbone")
    assert check.level == Level.RED
    assert "iresnet51" in check.says
    config = train_cases.small_config(folder, "backbone.name=tests.doctor.test_checks:Broken")
    step = found(examined(config), "step")
    assert step.level == Level.RED
    assert "no such layer" in step.says
    config = train_cases.small_config(folder, "backbone.name=tests.doctor.test_checks:Hungry")
    memory = found(examined(config), "memory")
    assert memory.level == Level.RED
    assert "tried to allocate 80 GiB" in memory.says
    assert "train.batch_size" in memory.remedy


def test_a_head_that_cannot_be_built_is_red(folder):
    check = found(quick(folder, "head.margin.scale=200"), "head")
    assert check.level == Level.RED
    assert "scale" in check.says


# Data


def test_data_that_is_not_there_is_red(folder):
    report = quick(folder, "data.train=nowhere.rec")
    assert found(report, "data").level == Level.RED
    assert "nowhere.rec" in found(report, "data").says


def test_too_few_classes_are_red_and_too_many_yellow(folder):
    few = quick(folder, "data.num_classes=19")
    assert found(few, "num_classes").level == Level.RED
    assert found(few, "labels").level == Level.RED
    many = quick(folder, "data.num_classes=21")
    assert found(many, "num_classes").level == Level.YELLOW
    assert found(many, "labels").level == Level.GREEN


def test_labels_out_of_range_are_red_and_the_first_is_named(folder):
    (folder / "property").write_text("15,8,8\n")
    check = found(quick(folder), "labels")
    assert check.level == Level.RED
    assert "30 of 120" in check.says
    assert "15 in train.rec record 91" in check.says


def test_damaged_images_are_red(folder):
    records = (folder / "train.rec").read_bytes()
    place = records.index(b"\x89PNG")
    (folder / "train.rec").write_bytes(records[:place] + b"\0PNG" + records[place + 4 :])
    check = found(quick(folder), "records")
    assert check.level == Level.RED
    assert "1 of 120" in check.says
    assert "train.rec record 1:" in check.says


def test_a_damaged_record_is_red(folder):
    """A frame without its magic word: neither its image nor its label can be read."""
    records = bytearray((folder / "train.rec").read_bytes())
    line = (folder / "train.idx").read_text().splitlines()[50].split()
    records[int(line[1]) : int(line[1]) + 4] = b"\0\0\0\0"
    (folder / "train.rec").write_bytes(records)
    report = quick(folder)
    assert found(report, "records").level == Level.RED
    assert found(report, "labels").level == Level.RED
    assert "record 50" in found(report, "labels").says


def test_class_sizes_are_counted_and_lonely_classes_yellow(tmp_path):
    image = encode_png(np.zeros((4, 4, 1), np.uint8))
    labels = [0, 1, 2, 2, 2, 3, 3]
    write_source(tmp_path / "train.rec", [(image, n) for n in labels], num_classes=6, image_size=(4, 4))
    seen = read_labels(open_source(tmp_path / "train.rec"), seconds=5)
    assert seen.complete
    assert seen.labels.tolist() == labels
    check = judge_class_sizes(seen, num_classes=6)
    assert check.level == Level.YELLOW
    assert "1 to 3 a class, median 1.5; 2 classes have 1, 2 none" in check.says


def test_classes_are_counted_among_valid_labels_only():
    none = judge_class_sizes(Labels(np.array([np.nan, 0.5, 9.0]), complete=True), num_classes=6)
    assert none.level == Level.YELLOW
    assert "none has a valid label" in none.says
    some = judge_class_sizes(Labels(np.array([-1.0, 0.0, 0.0, 1.0, 1.0, 2.0, np.inf]), True), num_classes=2)
    assert "2 to 2 a class" in some.says
    assert some.says.endswith("0 none")


def test_an_image_folder_is_examined_too(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            picture = encode_png(np.full((8, 8, 1), 40 * number, np.uint8))
            (tmp_path / "images" / name / f"{number}.png").write_bytes(picture)
    report = quick(tmp_path, f"data.train={tmp_path / 'images'}")
    assert found(report, "class sizes").says.startswith("all 4 images: 2 to 2 a class")
    assert found(report, "labels").level == Level.GREEN
    (tmp_path / "images" / "dog" / "0.png").write_bytes(b"no picture")
    assert "dog/0.png" in found(quick(tmp_path, f"data.train={tmp_path / 'images'}"), "records").says


def test_an_image_folder_has_the_classes_that_the_run_gave_before(tmp_path):
    (tmp_path / "images" / "cat").mkdir(parents=True)
    (tmp_path / "images" / "cat" / "0.png").write_bytes(encode_png(np.zeros((8, 8, 1), np.uint8)))
    index = tmp_path / "run" / "classes.json"
    index.parent.mkdir()
    index.write_text('["ant", "cat"]')
    assert "of 2 classes" in found(quick(tmp_path, f"data.train={tmp_path / 'images'}"), "data").says
    index.write_text('["ant", ')
    check = found(quick(tmp_path, f"data.train={tmp_path / 'images'}"), "data")
    assert check.level == Level.RED
    assert "classes.json is damaged" in check.says
    assert "run.dir" in check.remedy


def test_verification_files_that_cannot_be_used_are_red(folder):
    pairs = folder / "pairs.bin"
    write_pairs(pairs, make_pairs(open_source(folder / "train.rec"), pairs=6, seed=0))
    sets = {"sets": {"mine": str(pairs)}, "folds": 3}
    assert found(quick(folder, verification=sets), "verification").level == Level.GREEN
    few = found(quick(folder, verification={**sets, "folds": 10}), "verification")
    assert few.level == Level.RED
    assert "verification.folds is 10" in few.says
    pairs.write_bytes(pairs.read_bytes()[:100])
    damaged = found(quick(folder, verification=sets), "verification")
    assert damaged.level == Level.RED
    assert "verification.sets.mine" in damaged.says


def test_a_loader_too_slow_is_red(tmp_path):
    """Large pictures, a tiny network and no workers: nearly all of a long run would be waiting."""
    image = encode_png(np.random.default_rng(0).integers(0, 256, (2000, 2000, 1), np.uint8))
    write_source(
        tmp_path / "train.rec", [(image, label) for label in range(4)], num_classes=4, image_size=(2000, 2000)
    )
    config = train_cases.small_config(tmp_path, "train.steps=1000000")
    check = found(examined(config), "loading")
    assert check.level == Level.RED
    assert "in place of" in check.says
    assert "data.workers" in check.remedy


def test_loading_is_judged_by_what_it_costs():
    usual = {"batch": 128, "compute": 0.5, "steps": 100_000, "cores": 32, "ranks": 1}
    assert judge_loading(4 * 100, workers=4, **usual).level == Level.GREEN
    slow = judge_loading(2 * 90, workers=2, **usual)
    assert slow.level == Level.YELLOW
    assert slow.remedy == "set data.workers to 4"
    alone = judge_loading(90, workers=0, **usual)
    assert alone.level == Level.RED
    crowded = judge_loading(90, workers=0, **{**usual, "cores": 2})
    assert "there are 2" in crowded.remedy


# Disks


def mounted(size: str, folder: Path) -> None:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("needs the right to mount a small file system (root)")


def test_a_run_folder_that_cannot_be_one_is_red(folder):
    (folder / "file").write_text("")
    for path in (folder / "file", folder / "file" / "run"):
        check = found(quick(folder, run={"dir": str(path)}), "run folder")
        assert (check.level, check.says) == (Level.RED, f"{folder / 'file'} is no folder")


def test_what_a_run_would_go_on_from(folder):
    def resume(*overrides: str) -> Check:
        return found(quick(folder, *overrides), "resume")

    assert resume() == green("resume", "starts anew")
    missing = resume("checkpoint.resume=/nope")
    assert missing.level == Level.RED
    assert "/nope: neither a checkpoint nor a run with checkpoints" in missing.says
    train(train_cases.small_config(folder, "train.steps=3", "schedule.warmup_steps=0"))
    assert resume("train.steps=3", "schedule.warmup_steps=0") == green("resume", "goes on from step-00000003")
    longer = resume("schedule.warmup_steps=0")
    assert (longer.level, "train.steps 3 -> 12" in longer.says) == (Level.YELLOW, True)
    for override, says in (
        ("backbone.embedding_size=8", "backbone.embedding_size 16 -> 8"),
        ("data.num_classes=99", "number of classes "),
        ("checkpoint.resume=never", "holds checkpoints of another run"),
    ):
        check = resume(override)
        assert (check.level, says in check.says) == (Level.RED, True), check
    (folder / "run" / "checkpoints" / "step-00000003" / "state.json").write_text("torn")
    assert resume().level == Level.RED


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    mounted("1m", disk)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_too_small_is_red(folder, small_disk):
    check = found(quick(folder, f"run.dir={small_disk / 'run'}", "data.num_classes=100000"), "disk space")
    assert check.level == Level.RED
    assert "short" in check.says
    assert "keep_last" in check.remedy


def test_a_full_disk_is_red(small_disk):
    (small_disk / "filler").write_bytes(b"x" * (1 << 20))
    check = check_writing(small_disk / "run", checkpoint=1, interval=None)
    assert check.level == Level.RED
    assert "No space left" in check.says
    assert [file.name for file in small_disk.iterdir()] == ["filler"]


def test_a_limit_on_the_size_of_files_is_red(tmp_path):
    with soft_limit(resource.RLIMIT_FSIZE, 1 << 20):
        check = check_writing(tmp_path, checkpoint=1, interval=None)
    assert check.level == Level.RED
    assert "File too large" in check.says
    assert not list(tmp_path.iterdir())


def test_room_is_judged_with_the_checkpoints_that_are_there():
    usual = {"checkpoint": 10**9, "count": 4}
    assert judge_room(2 * 10**9, kept=0, **usual).level == Level.RED
    assert judge_room(2 * 10**9, kept=3 * 10**9, **usual).level == Level.GREEN
    assert judge_room(4 * 10**9 + 1, kept=0, **usual).level == Level.YELLOW


def test_a_slow_disk_is_yellow():
    assert judge_writing(1e9, checkpoint=10**10, interval=3600).level == Level.GREEN
    assert judge_writing(1e7, checkpoint=10**10, interval=3600).level == Level.YELLOW


# Limits


def test_few_open_files_are_red(folder):
    with soft_limit(resource.RLIMIT_NOFILE, 250):
        check = found(quick(folder), "open files")
    assert check.level == Level.RED
    assert check.says.startswith("at most 250")
    assert check.remedy.startswith("ulimit -n")


def test_open_files_say_what_to_raise():
    assert judge_files(1024, 4096, 500).level == Level.GREEN
    assert judge_files(-1, -1, 500).level == Level.GREEN
    assert judge_files(256, 4096, 500).remedy == "ulimit -n 500"
    assert "hard limit, 256" in judge_files(256, 256, 500).remedy


def test_little_shared_memory_is_red():
    check = check_shared_memory(batch_bytes=1 << 50, workers=1, ranks=1)
    assert check.level == Level.RED
    assert "--shm-size" in check.remedy
    check = check_shared_memory(batch_bytes=1, workers=1, ranks=1, shm=Path("/no/such/mount"))
    assert check.level == Level.RED
    assert "data.workers=0" in check.remedy
    assert judge_shared_memory(64 << 20, 40 << 20).level == Level.YELLOW
    assert judge_shared_memory(64 << 20, 0).level == Level.GREEN


def test_a_metrics_port_that_is_taken_is_yellow_for_training_goes_on(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        if port > 65535 - 64:
            pytest.skip("the system gave a port that metrics.port cannot be")
        check = found(quick(folder, f"metrics.port={port}"), "metrics port")
    assert check.level == Level.YELLOW
    assert f"127.0.0.1:{port}" in check.says
    assert "metrics.port" in check.remedy


def test_an_address_of_another_machine_is_yellow(folder):
    check = found(quick(folder, "metrics.bind=203.0.113.1", "metrics.port=9850"), "metrics port")
    assert check.level == Level.YELLOW
    assert "metrics.bind" in check.remedy


# Cost


def test_waiting_is_judged_by_its_share_and_by_what_it_costs_in_all():
    assert Waiting(compute=0.1, waiting=3.55, steps=1_224_000).level == Level.RED
    assert Waiting(0.1, 3.55, 1_224_000).describe() == "97% of a step, so 1,241 h in place of 34.0 h"
    assert Waiting(0.1, 3.55, 100).level == Level.YELLOW  # six minutes
    assert Waiting(0.1, 3.55, 10).level == Level.GREEN
    assert Waiting(0.1, 0.05, 1_000_000).level == Level.YELLOW
    assert Waiting(0.1, 0.02, 1_000_000).level == Level.GREEN
