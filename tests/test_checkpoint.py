"""Checkpoints: resharding to any world size, damage that is named, crashes that lose nothing."""

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import partialfc
from partialfc.checkpoint import CheckpointFolder, Tensors, find_checkpoint, load_replicated
from partialfc.distributed import World
from partialfc.head.shard import chunk_range

C, D = 10, 4


def full_matrix(rows: int = C) -> torch.Tensor:
    return torch.arange(rows * D, dtype=torch.float32).view(rows, D)


def tensors(world: World, rows: int = C, *, blank: bool = False) -> Tensors:
    start, stop = chunk_range(rows, world.rank, world.size)
    weight = full_matrix(rows)[start:stop].clone()
    steps = torch.arange(start, stop, dtype=torch.int32)
    if blank:
        weight, steps = torch.full_like(weight, -1.0), torch.full_like(steps, -1)
    return Tensors(
        {"weight": weight, "row_step": steps},
        {"backbone/w": torch.arange(3.0), "backbone/n": torch.tensor(7)},
        {"rng": torch.tensor([world.rank], dtype=torch.uint8)},
    )


def save(path: str, step: int = 1, rows: int = C, **extra: Any) -> None:
    world = World.of()
    state = {"step": step, "world_size": world.size, **extra}
    CheckpointFolder(Path(path), world).save(step, tensors(world, rows), state, num_classes=rows)


def load(path: str, rows: int = C) -> dict[str, Any]:
    world = World.of()
    folder = CheckpointFolder(Path(path), world)
    newest = folder.newest_whole()
    assert newest is not None
    state, found = folder.load(newest, tensors(world, rows, blank=True), num_classes=rows)
    return {
        "state": state,
        "weight": found.sharded["weight"],
        "row_step": found.sharded["row_step"],
        "replicated": dict(found.replicated),
        "private": dict(found.private),
    }


@pytest.mark.parametrize("rows", [C, 3])  # three classes leave the fourth shard empty
@pytest.mark.parametrize("saved_by", [1, 3, 4])
@pytest.mark.parametrize("loaded_by", [1, 2, 4])
def test_any_world_size_reads_what_another_wrote(run_ranks, tmp_path, rows, saved_by, loaded_by):
    run_ranks(save, saved_by, str(tmp_path), 5, rows)
    results = run_ranks(load, loaded_by, str(tmp_path), rows)
    assert torch.equal(torch.cat([r["weight"] for r in results]), full_matrix(rows))
    assert torch.cat([r["row_step"] for r in results]).tolist() == list(range(rows))
    for rank, result in enumerate(results):
        assert result["state"]["step"] == 5
        assert result["replicated"]["backbone/w"].tolist() == [0, 1, 2]
        assert result["replicated"]["backbone/n"].item() == 7
        expected = {"rng": rank} if saved_by == loaded_by else {}
        assert {name: value.item() for name, value in result["private"].items()} == expected


def test_without_a_process_group(tmp_path, run_ranks):
    save(str(tmp_path))
    assert torch.equal(load(str(tmp_path))["weight"], full_matrix())
    results = run_ranks(load, 3, str(tmp_path))
    assert torch.equal(torch.cat([r["weight"] for r in results]), full_matrix())


def test_latest_moves_last_and_pruning_keeps_the_best(tmp_path):
    folder = CheckpointFolder(tmp_path, World.of())
    for step in range(1, 6):
        save(str(tmp_path), step)
        if step == 2:
            folder.mark_best(tmp_path / "step-00000002")
        folder.prune(keep_last=2)
    assert sorted(p.name for p in tmp_path.glob("step-*")) == [
        "step-00000002",
        "step-00000004",
        "step-00000005",
    ]
    assert (tmp_path / "latest").read_text() == "step-00000005"
    assert find_checkpoint(tmp_path).name == "step-00000005"


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "state", "digit", "metadata"])
def test_damage_is_named_and_the_checkpoint_before_is_used(run_ranks, tmp_path, caplog, damage):
    for step in (1, 2):
        run_ranks(save, 2, str(tmp_path), step)
    newest = tmp_path / "step-00000002"
    files = {"state": "state.json", "digit": "state.json", "metadata": ".metadata"}
    victim = newest / files.get(damage, "__1_0.distcp")
    content = victim.read_bytes()
    if damage == "flip":
        victim.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    elif damage == "digit":
        victim.write_bytes(content.replace(b'"step": 2', b'"step": 3'))
    elif damage == "delete":
        victim.unlink()
    else:
        victim.write_bytes(content[: len(content) // 2])
    assert load(str(tmp_path))["state"]["step"] == 1
    assert str(victim) in caplog.text
    for result in run_ranks(load, 3, str(tmp_path)):
        assert result["state"]["step"] == 1
    with pytest.raises(partialfc.CheckpointError, match=victim.name):
        find_checkpoint(newest)


def test_when_all_are_damaged_nothing_is_silently_restarted(tmp_path):
    save(str(tmp_path))
    (tmp_path / "step-00000001" / "state.json").write_text("[]")
    with pytest.raises(partialfc.CheckpointError, match="none of the 1 checkpoints is undamaged"):
        CheckpointFolder(tmp_path, World.of()).newest_whole()


def test_no_checkpoint_is_none(tmp_path):
    assert CheckpointFolder(tmp_path, World.of()).newest_whole() is None
    with pytest.raises(partialfc.CheckpointError, match="neither a checkpoint nor a run"):
        find_checkpoint(tmp_path)


def test_another_number_of_classes_is_refused_with_both(run_ranks, tmp_path, rank_outcomes):
    run_ranks(save, 2, str(tmp_path))
    for outcome in rank_outcomes(load, 3, str(tmp_path), C + 1):
        assert isinstance(outcome, partialfc.CheckpointError)
        assert "num_classes 10, this run has 11" in str(outcome)


def test_missing_and_misshapen_tensors_are_named(tmp_path):
    save(str(tmp_path))
    folder = CheckpointFolder(tmp_path, World.of())
    newest = folder.newest_whole()
    wide = Tensors({"weight": torch.zeros(C, D + 1)}, {}, {})
    with pytest.raises(
        partialfc.CheckpointError, match=r"weight of shape \(10, 4\), this run's is \(10, 5\)"
    ):
        folder.load(newest, wide, num_classes=C)
    other = Tensors({"momentum": torch.zeros(C, D)}, {}, {})
    with pytest.raises(partialfc.CheckpointError, match="holds no sharded/momentum"):
        folder.load(newest, other, num_classes=C)


def test_replicated_tensors_load_alone(tmp_path, run_ranks):
    run_ranks(save, 3, str(tmp_path))
    loaded = load_replicated(tmp_path / "step-00000001", "backbone/")
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {"w": [0, 1, 2], "n": 7}


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch owned",)


def test_metadata_that_asks_for_anything_else_is_refused(tmp_path):
    save(str(tmp_path))
    newest = tmp_path / "step-00000001"
    (newest / ".metadata").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(partialfc.CheckpointError, match=r"asks for posix\.system"):
        load_replicated(newest, "backbone/")
    assert not Path("owned").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.test_checkpoint import save
import partialfc.checkpoint as checkpoint
save({path!r}, 1)
when = {when!r}
die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
if when == "tensors":
    checkpoint.FileSystemWriter.write_data = die
elif when == "state":
    checkpoint.checksum = die
elif when == "rename":
    Path.rename = die
elif when == "latest":
    write = checkpoint.write_whole
    checkpoint.write_whole = lambda path, text: die() if path.name == "latest" else write(path, text)
save({path!r}, 2)
"""


@pytest.mark.parametrize("when", ["tensors", "state", "rename", "latest"])
def test_a_kill_during_a_save_leaves_the_one_before(tmp_path, when):
    root = str(Path(__file__).parents[1])
    program = KILLED.format(root=root, path=str(tmp_path), when=when)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    loaded = load(str(tmp_path))
    assert loaded["state"]["step"] == 1
    assert torch.equal(loaded["weight"], full_matrix())
    save(str(tmp_path), 2)  # what was left behind is no obstacle
    assert load(str(tmp_path))["state"]["step"] == 2
    CheckpointFolder(tmp_path, World.of()).prune(keep_last=5)
    assert not list(tmp_path.glob("*.partial"))


def test_state_is_readable_json(tmp_path):
    save(str(tmp_path), 3, note="ü")
    seal, _, body = (tmp_path / "step-00000003" / "state.json").read_text().partition("\n")
    assert seal.startswith("// crc32 ")
    state = json.loads(body)
    assert state["note"] == "ü"
    assert state["num_classes"] == C
    assert set(state["files"]) == {".metadata", "__0_0.distcp"}


def test_a_save_that_fails_is_a_checkpoint_error(tmp_path, monkeypatch):
    """A full disk, say: torch raises a BaseException there, which `except Exception` would let through."""

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("partialfc.checkpoint.FileSystemWriter.write_data", fail)
    with pytest.raises(partialfc.CheckpointError, match=r"step-00000001\.partial cannot be written"):
        save(str(tmp_path))
