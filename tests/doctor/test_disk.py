"""Room for checkpoints, and the disk's speed."""

import resource
import subprocess
from pathlib import Path

import pytest

from partialfc.doctor import Level
from partialfc.doctor.disk import check_writing, judge_room, judge_writing
from tests.doctor.cases import found, quick, soft_limit


def mounted(size: str, folder: Path) -> None:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("needs the right to mount a small file system (root)")


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
