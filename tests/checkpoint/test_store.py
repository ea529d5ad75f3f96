"""One checkpoint: resharding to any world size, what does not fit is named, nothing is copied."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import partialfc
from partialfc.checkpoint import CheckpointFolder, Tensors, find_checkpoint, load_replicated
from partialfc.distributed import World
from tests.checkpoint.cases import SMALL, WHOLE, C, D, full_matrix, full_tensors, load, pieces_of, save
from tests.devices import the_device
from tests.paths import ROOT


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


def test_rows_that_are_no_plain_block_of_memory_are_saved(tmp_path):
    full = {"strided": torch.randn(12, 2 * D)[:, ::2], "part": torch.randn(20, D)[3:15]}
    folder = CheckpointFolder(tmp_path, World.of())
    with pieces_of(SMALL):
        folder.save(1, Tensors(full, {}, {}), {"world_size": 1}, num_classes=12)
    blank = {name: torch.zeros_like(tensor) for name, tensor in full.items()}
    folder.load(tmp_path / "step-00000001", Tensors(blank, {}, {}), num_classes=12)
    for name, tensor in full.items():
        assert torch.equal(blank[name], tensor)


def test_equal_tensors_give_equal_files_whatever_the_stride_of_a_single_channel(tmp_path):
    """A kernel of one input channel is contiguous and in the order channels_last at once."""
    kernel = torch.randn(8, 1, 3, 3)
    rows = torch.randn(C, 2, 1, 3).to(memory_format=torch.channels_last)
    told = {"kernel": kernel, "rows": rows, "number": torch.tensor(7)}
    otherwise = {
        **told,
        "kernel": kernel.as_strided(kernel.shape, (9, 1, 3, 1)),
        "rows": rows.as_strided(rows.shape, (6, 1, 5, 2)),
    }
    written = []
    for name, tensors in (("told", told), ("otherwise", otherwise)):
        folder = CheckpointFolder(tmp_path / name, World.of())
        folder.save(1, Tensors({}, tensors, tensors), {"world_size": 1}, num_classes=C)
        written.append((tmp_path / name / "step-00000001" / "__0_0.distcp").read_bytes())
        found = load_replicated(tmp_path / name / "step-00000001", "")
        assert all(torch.equal(found[key], tensor) for key, tensor in told.items())
    assert written[0] == written[1]


@pytest.mark.gpu
def test_tensors_of_a_device_are_saved_and_loaded(tmp_path):
    folder = CheckpointFolder(tmp_path, World.of())
    sharded = {name: full.to(the_device()) for name, full in full_tensors().items()}
    with pieces_of(SMALL):
        folder.save(1, Tensors(sharded, {}, {}), {"world_size": 1}, num_classes=C)
    blank = {name: torch.zeros_like(tensor) for name, tensor in sharded.items()}
    folder.load(tmp_path / "step-00000001", Tensors(blank, {}, {}), num_classes=C)
    for name, tensor in sharded.items():
        assert torch.equal(blank[name], tensor)


def test_another_number_of_classes_is_refused_with_both(run_ranks, tmp_path, rank_outcomes):
    run_ranks(save, 2, str(tmp_path))
    for outcome in rank_outcomes(load, 3, str(tmp_path), C + 1):
        assert isinstance(outcome, partialfc.CheckpointError)
        assert "num_classes 10, this run has 11" in str(outcome)


def test_missing_and_misshapen_tensors_are_named(tmp_path):
    save(str(tmp_path))
    folder = CheckpointFolder(tmp_path, World.of())
    checkpoint = find_checkpoint(tmp_path)
    wide = Tensors({"weight": torch.zeros(C, D + 1)}, {}, {})
    with pytest.raises(
        partialfc.CheckpointError, match=r"weight of shape \(10, 4\), this run's is \(10, 5\)"
    ):
        folder.load(checkpoint, wide, num_classes=C)
    other = Tensors({"variance": torch.zeros(C, D)}, {}, {})
    with pytest.raises(partialfc.CheckpointError, match="holds no sharded/variance"):
        folder.load(checkpoint, other, num_classes=C)
    other = Tensors({"momentum": torch.zeros(C, D)}, {}, {})
    with pytest.raises(
        partialfc.CheckpointError, match=r"momentum in torch\.int8, this run's is torch\.float32"
    ):
        folder.load(checkpoint, other, num_classes=C)


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


def test_a_save_that_fails_is_a_checkpoint_error(tmp_path, caplog):
    """A full disk, say: torch raises a BaseException there, which `except Exception` would let through."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(
            partialfc.CheckpointError,
            match=r"step-00000001 cannot be saved: .*: File too large; it takes about 4\.8 MB",
        ):
            save(str(tmp_path), rows=100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not caplog.text
    assert torch.serialization.get_crc32_options()  # which a save changes while it writes
    assert not list(tmp_path.iterdir())


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
