"""The checkpoints of a run: the newest undamaged one is found, and a crash loses none."""

import signal

import pytest
import torch

import partialfc
from partialfc.checkpoint import CheckpointFolder, find_checkpoint, newest
from partialfc.distributed import World
from tests.checkpoint.cases import full_matrix, load, save
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, warm_python


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
    damaged = tmp_path / "step-00000002"
    files = {"state": "state.json", "digit": "state.json", "metadata": ".metadata"}
    victim = damaged / files.get(damage, "__1_0.distcp")
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
        find_checkpoint(damaged)


def test_when_all_are_damaged_nothing_is_silently_restarted(tmp_path):
    save(str(tmp_path))
    (tmp_path / "step-00000001" / "state.json").write_text("[]")
    with pytest.raises(partialfc.CheckpointError, match="none of the 1 checkpoints is undamaged"):
        newest(CheckpointFolder(tmp_path, World.of()))


def test_no_checkpoint_is_none(tmp_path):
    assert newest(CheckpointFolder(tmp_path, World.of())) is None
    with pytest.raises(partialfc.CheckpointError, match="neither a checkpoint nor a run"):
        find_checkpoint(tmp_path)


KILLED = """
import os, signal
from pathlib import Path
from tests.checkpoint.cases import save
from partialfc.checkpoint import folder, store
save({path!r}, 1)
when = {when!r}
die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
if when == "tensors":
    store.ChecksumWriter.write_data = die
elif when == "state":
    store.sealed = die
elif when == "rename":
    folder.put_in_place = die
elif when == "replace":  # the same step again: its old checkpoint is moved away, the new one not yet there
    save({path!r}, 2)
    rename = Path.rename
    Path.rename = lambda path, target: die() if path.suffix == ".partial" else rename(path, target)
elif when == "latest":
    replace = Path.replace
    Path.replace = lambda path, target: die() if target.name == "latest" else replace(path, target)
save({path!r}, 2)
"""


@pytest.mark.parametrize("when", ["tensors", "state", "rename", "replace", "latest"])
def test_a_kill_during_a_save_leaves_the_one_before(tmp_path, when):
    program = KILLED.format(path=str(tmp_path), when=when)
    result = warm_python().run("-c", program, env=ENVIRONMENT, cwd=ROOT)
    assert result.returncode == -signal.SIGKILL, result.stderr
    loaded = load(str(tmp_path))
    assert loaded["state"]["step"] == (2 if when == "replace" else 1)  # the old one, moved away, is whole
    assert torch.equal(loaded["weight"], full_matrix())
    save(str(tmp_path), 2)  # what was left behind is no obstacle
    assert load(str(tmp_path))["state"]["step"] == 2
    CheckpointFolder(tmp_path, World.of()).prune(keep_last=5)
    names = ["latest", "lineage", "step-00000001", "step-00000002"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
