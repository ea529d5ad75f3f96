"""A disk that fills up in the middle of a save, at any byte: one line, and the checkpoint before stays."""

import re
from pathlib import Path

import pytest

import partialfc
from partialfc.checkpoint import CheckpointFolder, find_checkpoint
from partialfc.distributed import World
from tests.checkpoint.cases import C, load, save, tensors
from tests.disks import fill, protect, small_disk

ROWS = 2000


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        (disk / "run").mkdir()
        yield disk


def names(disk: Path) -> list[str]:
    return sorted(path.name for path in (disk / "run" / "checkpoints").iterdir())


def count(shown: str) -> float:
    """Bytes, of `12.3 kB`."""
    number, unit = shown.split()
    return float(number) * {"B": 1, "kB": 1000}[unit]


def test_wherever_the_room_ends_the_checkpoint_before_stays(disk):
    checkpoints = disk / "run" / "checkpoints"
    save(str(checkpoints), 1, ROWS)
    before = names(disk)
    size = sum(file.stat().st_size for file in (checkpoints / "step-00000001").iterdir())
    failed = set()
    for room in range(0, 2 * size, 4096):
        fill(disk, leave=room)
        try:
            save(str(checkpoints), 2, ROWS)
        except partialfc.CheckpointError as error:
            message = str(error)
            told = re.match(
                r"step-00000002 cannot be saved: \S+: No space left on device \(([\d.]+ k?B) free\); it "
                r"takes about ([\d.]+ kB), and the one before, step-00000001, stays as it is\. Make room",
                message,
            )
            assert told, message
            assert count(told[2]) > count(told[1]), message
            failed.add(Path(message.split(": ")[1]).name)
            assert names(disk) == before
            assert find_checkpoint(checkpoints).name == "step-00000001"
        else:
            assert load(str(checkpoints), ROWS)["state"]["step"] == 2
            break
    else:
        pytest.fail("there was no room at last")
    assert failed >= {"__0_0.distcp", ".metadata.tmp", "state.json", "lineage"}


def save_with_some_room(path: str) -> None:
    world = World.of()
    if world.rank == 0:
        fill(Path(path).parents[1], leave=20_000)
    world.barrier()
    save(path, 2, ROWS)


def test_every_rank_says_the_same(run_ranks, rank_outcomes, disk):
    checkpoints = str(disk / "run" / "checkpoints")
    run_ranks(save, 3, checkpoints, 1, ROWS)
    before = names(disk)
    outcomes = rank_outcomes(save_with_some_room, 3, checkpoints)
    assert all(isinstance(outcome, partialfc.CheckpointError) for outcome in outcomes)
    (message,) = {str(outcome) for outcome in outcomes}
    assert "No space left on device" in message
    assert "\n" not in message
    assert names(disk) == before


def test_a_protected_folder_is_named(rank_outcomes, disk):
    protect(disk)
    for outcome in rank_outcomes(save, 2, str(disk / "run" / "checkpoints"), 1):
        assert isinstance(outcome, partialfc.CheckpointError)
        assert "run/checkpoints: Read-only file system; it takes" in str(outcome)
        assert "there is none before it" in str(outcome)


def test_a_folder_that_was_removed_or_replaced_is_not_made_anew(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for replaced in (False, True):
        checkpoints = CheckpointFolder(folder / "checkpoints", World.of())
        folder.rename(tmp_path / f"moved{replaced}")
        if replaced:
            folder.mkdir()
        with pytest.raises(partialfc.CheckpointError, match="was removed, moved or replaced while"):
            checkpoints.save(1, tensors(World.of()), {"step": 1, "world_size": 1}, num_classes=C)
        assert folder.exists() == replaced
        folder.mkdir(exist_ok=True)
        assert not list(folder.iterdir())
