"""What torch.distributed.checkpoint wrote is read, and the other way round."""

import pytest
import torch
from torch.distributed import checkpoint as torch_checkpoint

from partialfc.checkpoint.reading import InPlaceReader
from tests.checkpoint.cases import SMALL, C, full_tensors, save

ALONE = pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized")


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
