"""Room for checkpoints, and the disk's speed."""

import resource

import pytest

from partialfc.doctor import Level
from partialfc.doctor.disk import check_writing, judge_room, judge_writing
from tests import train_cases
from tests.disks import fill, protect, small_disk
from tests.doctor.cases import examined, found, quick, soft_limit


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def test_a_disk_too_small_is_red(folder, disk):
    check = found(quick(folder, f"run.dir={disk / 'run'}", "data.num_classes=100000"), "disk space")
    assert check.level == Level.RED
    assert "short" in check.says
    assert "keep_last" in check.remedy


def test_a_full_disk_is_red_and_its_remedy_works(disk):
    fill(disk)
    check = check_writing(disk / "run", checkpoint=1, interval=None)
    assert check.level == Level.RED
    assert "No space left" in check.says
    assert "free some space" in check.remedy
    assert [file.name for file in disk.iterdir()] == ["filler"]
    (disk / "filler").unlink()
    assert check_writing(disk / "run", checkpoint=1, interval=None).level == Level.GREEN


def test_a_disk_that_must_not_be_written_to_is_red(folder, disk):
    protect(disk)
    for name in ("run folder", "disk writing"):
        check = found(examined(train_cases.small_config(folder, f"run.dir={disk / 'run'}")), name)
        assert check.level == Level.RED
        assert "choose another run.dir" in check.remedy


def test_checkpoints_on_another_disk_are_looked_for_there(folder, disk):
    """`checkpoints` may be a link."""
    (folder / "run").mkdir()
    (folder / "run" / "checkpoints").symlink_to(disk)
    fill(disk)
    check = found(quick(folder), "disk space")
    assert (check.level, check.says.split(" free")[0]) == (Level.RED, "0 B")


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
