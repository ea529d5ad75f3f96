"""Checkpoints: resharding to any world size, damage that is named, crashes that lose nothing."""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed import checkpoint as torch_checkpoint
from torch.distributed.checkpoint.metadata import _MEM_FORMAT_ENCODING, TensorProperties

import partialfc
from partialfc.checkpoint import CheckpointFolder, Tensors, find_checkpoint, load_replicated
from partialfc.checkpoint import writing as checkpoint_writing
from partialfc.checkpoint.reading import InPlaceReader
from partialfc.distributed import World
from partialfc.head.shard import chunk_range
from tests.paths import ROOT

C, D = 10, 4
WHOLE = checkpoint_writing.PIECE_BYTES
SMALL = 3 * D * 4  # three rows of float32
ALONE = pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized")


def full_matrix(rows: int = C) -> Tensor:
    return torch.arange(rows * D, dtype=torch.float32).view(rows, D)


def full_tensors(rows: int = C) -> dict[str, Tensor]:
    """Every kind of row state that heads have."""
    numbers = full_matrix(rows)
    return {
        "weight": numbers,
        "narrow": (numbers / 7).bfloat16(),
        "momentum": (numbers % 255 - 127).to(torch.int8),
        "scale": numbers.flip(1) / 3,
        "row_step": torch.arange(rows, dtype=torch.int32),
    }


def tensors(world: World, rows: int = C, *, blank: bool = False) -> Tensors:
    start, stop = chunk_range(rows, world.rank, world.size)
    sharded = {name: full[start:stop].clone() for name, full in full_tensors(rows).items()}
    if blank:
        sharded = {name: torch.full_like(part, -1) for name, part in sharded.items()}
    return Tensors(
        sharded,
        {"backbone/w": torch.arange(30.0), "backbone/n": torch.tensor(7)},
        {"rng": torch.tensor([world.rank], dtype=torch.uint8)},
    )


@contextmanager
def pieces_of(piece_bytes: int) -> Iterator[None]:
    checkpoint_writing.PIECE_BYTES = piece_bytes
    try:
        yield
    finally:
        checkpoint_writing.PIECE_BYTES = WHOLE


def save(path: str, step: int = 1, rows: int = C, piece_bytes: int = WHOLE, **extra: Any) -> None:
    world = World.of()
    state = {"step": step, "world_size": world.size, **extra}
    with pieces_of(piece_bytes):
        CheckpointFolder(Path(path), world).save(step, tensors(world, rows), state, num_classes=rows)


def load(path: str, rows: int = C) -> dict[str, Any]:
    world = World.of()
    folder = CheckpointFolder(Path(path), world)
    newest = folder.newest_whole()
    assert newest is not None
    state, found = folder.load(newest, tensors(world, rows, blank=True), num_classes=rows)
    return {
        "state": state,
        **found.sharded,
        "replicated": dict(found.replicated),
        "private": dict(found.private),
    }


@pytest.mark.parametrize(("rows", "piece_bytes"), [(C, WHOLE), (C, SMALL), (3, 1)])
@pytest.mark.parametrize("saved_by", [1, 3, 4])  # of three classes the fourth has none
@pytest.mark.parametrize("loaded_by", [1, 2, 4])
def test_any_world_size_reads_what_another_wrote(run_ranks, tmp_path, rows, piece_bytes, saved_by, loaded_by):
    run_ranks(save, saved_by, str(tmp_path), 5, rows, piece_bytes)
    results = run_ranks(load, loaded_by, str(tmp_path), rows)
    for name, full in full_tensors(rows).items():
        found = torch.cat([r[name] for r in results])
        assert found.dtype == full.dtype
        assert torch.equal(found, full), name
    for rank, result in enumerate(results):
        assert result["state"]["step"] == 5
        assert result["replicated"]["backbone/w"].tolist() == list(range(30))
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


@ALONE
def test_torch_reads_the_pieces_by_itself(run_ranks, tmp_path):
    run_ranks(save, 2, str(tmp_path), 1, C, SMALL)
    path = tmp_path / "step-00000001"
    saved = torch_checkpoint.FileSystemReader(path).read_metadata().state_dict_metadata
    assert sorted(chunk.sizes[0] for chunk in saved["sharded/weight"].chunks) == [2, 2, 3, 3]
    assert len(saved["replicated/backbone/w"].chunks) == 3
    wanted = {f"sharded/{name}": torch.zeros_like(full) for name, full in full_tensors().items()}
    wanted["replicated/backbone/w"] = torch.zeros(30)
    torch_checkpoint.load(wanted, checkpoint_id=path, no_dist=True)
    for name, full in full_tensors().items():
        assert torch.equal(wanted[f"sharded/{name}"], full)
    assert wanted["replicated/backbone/w"].tolist() == list(range(30))


@ALONE
def test_whatever_torch_wrote_is_read(tmp_path):
    """As older checkpoints hold it, and in layouts and types that cannot be read in place."""
    saved = {
        "contiguous": torch.randn(5, 3),
        "transposed": torch.randn(3, 5).T,
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "view": torch.randn(9, 3)[2:7],
        "column": torch.randn(6, 2)[:, 1],
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "truth": torch.tensor([True, False]),
        "unsigned": torch.arange(3).to(torch.uint16),
        "complex": torch.randn(4, dtype=torch.complex64),
        "wide": torch.randn(4, 3),
    }
    torch_checkpoint.save(saved, checkpoint_id=tmp_path, no_dist=True)
    wanted = {name: torch.zeros_like(tensor) for name, tensor in saved.items()}
    wanted["contiguous"] = torch.zeros(3, 5).T  # rearranged where it goes
    wanted["wide"] = torch.zeros(4, 3, dtype=torch.bfloat16)  # and of another type
    torch_checkpoint.load(wanted, storage_reader=InPlaceReader(tmp_path), no_dist=True)
    for name, tensor in saved.items():
        assert torch.equal(wanted[name], tensor.to(wanted[name].dtype)), name


def test_rows_that_are_no_plain_block_of_memory_are_saved(tmp_path):
    full = {"strided": torch.randn(12, 2 * D)[:, ::2], "part": torch.randn(20, D)[3:15]}
    folder = CheckpointFolder(tmp_path, World.of())
    with pieces_of(SMALL):
        folder.save(1, Tensors(full, {}, {}), {"world_size": 1}, num_classes=12)
    blank = {name: torch.zeros_like(tensor) for name, tensor in full.items()}
    folder.load(tmp_path / "step-00000001", Tensors(blank, {}, {}), num_classes=12)
    for name, tensor in full.items():
        assert torch.equal(blank[name], tensor)


@pytest.mark.gpu
def test_tensors_of_a_gpu_are_saved_and_loaded(tmp_path):
    folder = CheckpointFolder(tmp_path, World.of())
    sharded = {name: full.cuda() for name, full in full_tensors().items()}
    with pieces_of(SMALL):
        folder.save(1, Tensors(sharded, {}, {}), {"world_size": 1}, num_classes=C)
    blank = {name: torch.zeros_like(tensor) for name, tensor in sharded.items()}
    folder.load(tmp_path / "step-00000001", Tensors(blank, {}, {}), num_classes=C)
    for name, tensor in sharded.items():
        assert torch.equal(blank[name], tensor)


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
    other = Tensors({"variance": torch.zeros(C, D)}, {}, {})
    with pytest.raises(partialfc.CheckpointError, match="holds no sharded/variance"):
        folder.load(newest, other, num_classes=C)
    other = Tensors({"momentum": torch.zeros(C, D)}, {}, {})
    with pytest.raises(
        partialfc.CheckpointError, match=r"momentum in torch\.int8, this run's is torch\.float32"
    ):
        folder.load(newest, other, num_classes=C)


def test_floats_of_another_width_are_converted(tmp_path):
    save(str(tmp_path))
    blank = {"weight": torch.zeros(C, D, dtype=torch.bfloat16), "narrow": torch.zeros(C, D)}
    folder = CheckpointFolder(tmp_path, World.of())
    folder.load(tmp_path / "step-00000001", Tensors(blank, {}, {}), num_classes=C)
    assert torch.equal(blank["weight"], full_matrix().bfloat16())
    assert torch.equal(blank["narrow"], full_tensors()["narrow"].float())


def test_replicated_tensors_load_alone(tmp_path, run_ranks):
    run_ranks(save, 3, str(tmp_path))
    loaded = load_replicated(tmp_path / "step-00000001", "backbone/")
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {"w": list(range(30)), "n": 7}


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


class EarlyPickler(pickle.Pickler):
    """Pickles an enum's members as Python 3.11.0 to 3.11.3 do: as a call of getattr."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, _MEM_FORMAT_ENCODING):
            return getattr, (_MEM_FORMAT_ENCODING, value.name)
        return NotImplemented


def test_metadata_written_by_an_early_python_3_11_is_read(tmp_path):
    save(str(tmp_path))
    newest = tmp_path / "step-00000001"
    metadata = pickle.loads((newest / ".metadata").read_bytes())
    with (newest / ".metadata").open("wb") as file:
        EarlyPickler(file).dump(metadata)
    assert b"getattr" in (newest / ".metadata").read_bytes()
    loaded = load_replicated(newest, "backbone/")
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {"w": list(range(30)), "n": 7}


class Attribute:
    def __init__(self, kind: type, name: str) -> None:
        self.wanted = kind, name

    def __reduce__(self) -> Any:
        return getattr, self.wanted


@pytest.mark.parametrize(
    ("kind", "name"), [(TensorProperties, "__init__"), (_MEM_FORMAT_ENCODING, "__class__")]
)
def test_metadata_that_asks_for_another_attribute_is_refused(tmp_path, kind, name):
    save(str(tmp_path))
    newest = tmp_path / "step-00000001"
    (newest / ".metadata").write_bytes(pickle.dumps(Attribute(kind, name)))
    with pytest.raises(partialfc.CheckpointError, match="which no checkpoint of ours holds"):
        load_replicated(newest, "backbone/")


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.checkpoint.test_folder import save
from partialfc.checkpoint import folder, store
save({path!r}, 1)
when = {when!r}
die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
if when == "tensors":
    store.SummedWriter.write_data = die
elif when == "state":
    store.sealed = die
elif when == "rename":
    Path.rename = die
elif when == "latest":
    write = folder.write_whole
    folder.write_whole = lambda path, text: die() if path.name == "latest" else write(path, text)
save({path!r}, 2)
"""


@pytest.mark.parametrize("when", ["tensors", "state", "rename", "latest"])
def test_a_kill_during_a_save_leaves_the_one_before(tmp_path, when):
    program = KILLED.format(root=str(ROOT), path=str(tmp_path), when=when)
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


def test_a_save_that_fails_is_a_checkpoint_error(tmp_path):
    """A full disk, say: torch raises a BaseException there, which `except Exception` would let through."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(partialfc.CheckpointError, match=r"step-00000001\.partial cannot be written"):
            save(str(tmp_path), rows=100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.serialization.get_crc32_options()  # which a save changes while it writes
    assert CheckpointFolder(tmp_path, World.of()).newest_whole() is None


STREAMED = """
from pathlib import Path
import torch
from partialfc.checkpoint import CheckpointFolder, Tensors
from partialfc.distributed import World

def status(field):  # in bytes
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

def growth(call):  # of the most memory held, over what is held before
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    call()
    return status("VmHWM") - before

folder = CheckpointFolder(Path({path!r}), World.of())
def tensors(rows, value):
    weight = torch.full((rows, 512), value, dtype=torch.bfloat16)
    return Tensors({{"weight": weight, "momentum": torch.full((rows, 512), value)}}, {{}}, {{}})
def save(rows):
    folder.save(rows, tensors(rows, 1), {{"world_size": 1}}, num_classes=rows)
save(10)
folder.load(folder.path_of(10), tensors(10, 0), num_classes=10)
rows = 60_000
full = tensors(rows, 1)
print(growth(lambda: folder.save(rows, full, {{"world_size": 1}}, num_classes=rows)))
full.sharded["weight"].zero_()
print(growth(lambda: folder.load(folder.path_of(rows), full, num_classes=rows)))
assert (full.sharded["weight"] == 1).all()
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads peak memory from Linux's /proc")
def test_saving_and_loading_hold_no_copy(tmp_path):
    """59 MiB of bfloat16 and 117 of float32 pass through less than a third of the smaller."""
    program = STREAMED.format(path=str(tmp_path))
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    saving, loading = map(int, output.stdout.split())
    assert max(saving, loading) < 20 << 20
