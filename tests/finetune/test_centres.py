"""The first centres of a head: from means, and from another run by the classes' names."""

import json
from pathlib import Path

import pytest
import torch

import partialfc
from partialfc.checkpoint import find_checkpoint
from partialfc.checkpoint.rows import SavedRows
from partialfc.deploy.trained import load_trained
from partialfc.errors import CheckpointError, ConfigError
from partialfc.finetune import centres
from partialfc.finetune.centres import begin_at_means, take_over_centres
from partialfc.finetune.class_means import Means
from tests.train_cases import CLASSES, small_config, write_data
from tests.training.cases import run

C, D = 11, 16


def a_head(classes: int = C, *, sub_centers: int = 1, **options) -> partialfc.PartialFC:
    margin = partialfc.ArcFace()
    if sub_centers > 1:
        margin = partialfc.SubCenter(k=sub_centers, base=margin)
    head = partialfc.PartialFC(D, classes, margin=margin, **options)
    partialfc.RowSGD(head, lr=0.1, momentum=0.9)
    return head


def rows_of_all(head: partialfc.PartialFC) -> torch.Tensor:
    """The centres [C, k·D] of all ranks as they are now."""
    sizes = head.world.gather_integers([len(head.shard)])[:, 0].tolist()
    return head.world.all_gather_rows(head.weight.detach().clone(), sizes)


def some_means() -> tuple[torch.Tensor, torch.Tensor]:
    means = torch.randn(C, D, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return means, torch.tensor([2, 0, 1, 1, 3, 0, 1, 1, 1, 1, 1])


def begun_at_means(sub_centers: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, int]:
    head = a_head(sub_centers=sub_centers, weight_dtype=dtype)
    before = rows_of_all(head)
    means, images = some_means()
    count = begin_at_means(
        head, [Means(start, means[start:stop], images[start:stop]) for start, stop in ((0, 3), (3, 11))]
    )
    return before, rows_of_all(head), count


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16], ids=["float32", "float64", "bfloat16"]
)
@pytest.mark.parametrize("sub_centers", [1, 2])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_centres_begin_at_the_means(run_ranks, world_size, sub_centers, dtype):
    """With their direction and the norm of before; classes without images, and further sub-centres, stay."""
    means, images = some_means()
    tolerance = {torch.bfloat16: 1e-2, torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    for before, after, count in run_ranks(begun_at_means, world_size, sub_centers, dtype):
        assert count == 9
        first, now = before[:, :D], after[:, :D]
        unit = torch.nn.functional.normalize(means, dim=1)
        wanted = torch.where(
            images[:, None] > 0, unit * first.double().norm(dim=1, keepdim=True), first.double()
        )
        torch.testing.assert_close(now.double(), wanted, rtol=tolerance, atol=tolerance * 0.05)
        assert torch.equal(now[[1, 5]], first[[1, 5]])
        assert torch.equal(after[:, D:], before[:, D:])


def begun_without_directions() -> tuple[torch.Tensor, torch.Tensor, int]:
    head = a_head()
    before = rows_of_all(head)
    means, images = some_means()
    images = images.clamp(min=1)
    means[0], means[3], means[4, 2], means[9, 1] = 0.0, 1e-17, torch.nan, torch.inf
    means[10] *= 1e-9
    count = begin_at_means(head, [Means(0, means, images)])
    return before, rows_of_all(head), count


@pytest.mark.parametrize("world_size", [1, 3])
def test_a_class_whose_mean_has_no_direction_keeps_its_centre(run_ranks, world_size):
    """Opposite embeddings leave 0 but for rounding, and one that is no number leaves none."""
    for before, after, count in run_ranks(begun_without_directions, world_size):
        stay = [0, 3, 4, 9]
        assert count == C - len(stay)
        assert torch.equal(after[stay], before[stay])
        torch.testing.assert_close(after.norm(dim=1), before.norm(dim=1))
        moved = [row for row in range(C) if row not in stay]
        assert (after[moved] != before[moved]).any(dim=1).all()


# Centres of another run


def written_run(folder: Path, *overrides: str) -> Path:
    """A finished run whose classes are called p0..p19."""
    write_data(folder)
    (folder / "classes.txt").write_text("".join(f"p{number}\n" for number in range(CLASSES)))
    run(small_config(folder, "train.steps=4", *overrides))
    return folder / "run"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def with_sub_centres(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_run(tmp_path_factory.mktemp("finished"), "head.sub_centers=3")


# Of the first ten of the C classes.
NAMES = ["p19", "new", "p0", "p7", "p8", "other", "p1", "p18", "third", "p2"]


def taken(path: Path, sub_centers: int, at_once: int) -> tuple[torch.Tensor, torch.Tensor, int]:
    centres.AT_ONCE = at_once
    head = a_head(sub_centers=sub_centers)
    before = rows_of_all(head)
    count = take_over_centres(head, NAMES, path)
    return before, rows_of_all(head), count


@pytest.mark.parametrize("at_once", [1, 3, 65_536])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_centres_are_taken_over_by_name(run_ranks, finished, world_size, at_once):
    theirs = load_trained(finished, trust=["tests.train_cases"]).centres()
    for before, after, count in run_ranks(taken, world_size, finished, 1, at_once):
        assert count == 7
        for row in range(C):
            name = NAMES[row] if row < len(NAMES) else "none"
            known = name.startswith("p")
            assert torch.equal(after[row], theirs[int(name[1:])] if known else before[row]), name


@pytest.mark.parametrize(("here", "both"), [(1, 1), (2, 2), (4, 3)])
def test_as_many_sub_centres_are_taken_as_both_have(with_sub_centres, here, both):
    theirs = load_trained(with_sub_centres, trust=["tests.train_cases"]).centres()  # [C, 3, D]
    before, after, _ = taken(with_sub_centres, here, 65_536)
    assert torch.equal(after[0].view(here, D)[:both], theirs[19, :both])
    assert torch.equal(after[0].view(here, D)[both:], before[0].view(here, D)[both:])


def test_centres_in_float64_are_taken_over_as_they_were(tmp_path):
    path = written_run(tmp_path, "head.weight_dtype=float64", "head.compute_dtype=float64")
    head = a_head(weight_dtype=torch.float64)
    take_over_centres(head, NAMES, path)
    saved = SavedRows(find_checkpoint(path)).read("weight", 0, CLASSES)
    assert not torch.equal(saved, saved.float().double())
    assert torch.equal(head.weight[0], saved[19])
    loaded = load_trained(path, trust=["tests.train_cases"])
    assert torch.equal(loaded.centres()[[19, 0, 7]], head.weight[[0, 2, 3]].float())
    assert loaded.centres().dtype == torch.float32
    assert loaded.top_k(saved[:3], 1)[1].flatten().tolist() == [0, 1, 2]


def test_what_cannot_be_taken_over_says_why(finished, tmp_path):
    head = a_head()
    with pytest.raises(CheckpointError, match="neither a checkpoint nor a run with checkpoints"):
        take_over_centres(head, NAMES, tmp_path)
    with pytest.raises(ConfigError, match=r"no class has the name of one of .*'x' and others here, 'p0' and"):
        take_over_centres(head, ["x", "y"], finished)
    small = partialfc.PartialFC(8, C, margin=partialfc.ArcFace())
    with pytest.raises(CheckpointError, match=r"of size 16, and this run of 8: set backbone\.embedding_size"):
        take_over_centres(small, NAMES, finished)
    names = json.loads((finished / "classes.json").read_text())
    (finished / "classes.json").unlink()
    try:
        with pytest.raises(CheckpointError, match="does not know its classes by name"):
            take_over_centres(head, NAMES, finished)
    finally:
        (finished / "classes.json").write_text(json.dumps(names))
