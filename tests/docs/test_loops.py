"""The loops of docs/how-to/other-loops.md and those of frameworks: run by torchrun, and compared."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import partialfc
from partialfc.data.glyphs.build import build_glyphs
from partialfc.data.pairs.files import read_pairs
from partialfc.evaluation.nearest import nearest
from tests.docs.pages import DOCS, blocks
from tests.glyph_run import write_fonts
from tests.paths import ROOT
from tests.processes import ENVIRONMENT, for_torchrun, warm_python

PAGES = ("other-loops", "fabric", "accelerate", "metric-learning")
FRAMEWORKS = {"fabric": "with_fabric.py", "accelerate": "with_accelerate.py"}
Losses = list[float]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs of the pages, and glyphs of 64 classes, four images each, for two ranks."""
    folder = tmp_path_factory.mktemp("loops")
    for page in PAGES:
        for block in blocks(DOCS / "how-to" / f"{page}.md"):
            if named := re.match(r'"""(?:torchrun --nproc-per-node 2 )?(\w+\.py)', block.text):
                (folder / named[1]).write_text(block.text)
    fonts = write_fonts(folder / "fonts", characters=76)
    build_glyphs(folder / "data" / "glyphs", fonts=[fonts], size=16, min_faces=3, holdout=12, pairs=60)
    return folder


def run(desk: Path, program: str, *words: object) -> tuple[Losses, str]:
    """The losses that a program prints, a step each, and its last line, which has the verification."""
    done = warm_python().run(
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, program),
        *("data/glyphs/train.rec", "data/glyphs/pairs.bin", *words),
        env=for_torchrun(ENVIRONMENT | {"PYTHONPATH": f"{ROOT}:{desk}"}),
        cwd=desk,
    )
    assert done.returncode == 0, done.stderr
    return [float(loss) for loss in re.findall(r"epoch \d+ loss (\S+)", done.stdout)], done.stdout


@pytest.fixture(scope="module")
def plain(desk: Path) -> tuple[Losses, str]:
    """Of two epochs in one go."""
    return run(desk, "plain.py", "runs/whole", 2)


@pytest.mark.slow
def test_the_plain_loop_learns_and_is_verified(plain):
    losses, printed = plain
    assert len(losses) == 8
    assert max(losses[4:]) < min(losses[:4])
    assert float(re.search(r"60 pairs: accuracy (\S+)%", printed)[1]) > 85


@pytest.mark.slow
def test_the_plain_loop_goes_on_bit_for_bit(desk, plain):
    first, _ = run(desk, "plain.py", "runs/resumed", 1)
    second, _ = run(desk, "plain.py", "runs/resumed", 2)
    assert first + second == plain[0]


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_gives_the_losses_of_plain_pytorch_also_when_it_is_resumed(desk, plain, framework):
    first, _ = run(desk, FRAMEWORKS[framework], f"runs/{framework}", 1)
    second, printed = run(desk, FRAMEWORKS[framework], f"runs/{framework}", 2)
    np.testing.assert_allclose(first + second, plain[0], rtol=0 if framework == "fabric" else 1e-6)
    assert "60 pairs: accuracy " in printed


@pytest.mark.slow
def test_triplets_beside_the_head_learn_and_both_measure_the_same(desk):
    losses, printed = run(desk, "with_triplets.py", 5)
    assert len(losses) == 20
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert float(re.search(r"60 pairs: accuracy (\S+)%", printed)[1]) > 75
    assert 0 < float(re.search(r"'precision_at_1': ([\d.]+)", printed)[1]) <= 1


def test_their_precision_is_our_rank_one(desk):
    from pytorch_metric_learning import distances
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    pairs = read_pairs(desk / "data" / "glyphs" / "pairs.bin")
    identities = np.array([*dict(zip(pairs.images, pairs.identities.reshape(-1), strict=True)).values()])
    of_identity = np.random.default_rng(0).standard_normal((identities.max() + 1, 4))
    rows = of_identity[identities] + np.random.default_rng(1).standard_normal((len(identities), 4))
    theirs = AccuracyCalculator(
        include=("precision_at_1",), k=1, knn_func=CustomKNN(distances.CosineSimilarity())
    ).get_accuracy(torch.from_numpy(rows), torch.from_numpy(identities))
    assert 0.1 < theirs["precision_at_1"] < 0.9
    assert theirs["precision_at_1"] == pytest.approx(nearest(rows, identities).right.mean())


C, D = 50, 16
ROWS = re.findall(
    r"^\| `(losses\.(\w+)\([^`]*)` \| `(PartialFC[^`]*)`",
    (DOCS / "how-to" / "metric-learning.md").read_text(),
    flags=re.MULTILINE,
)


@pytest.mark.parametrize(("theirs", "ours"), [row[::2] for row in ROWS], ids=[row[1] for row in ROWS])
def test_the_table_names_the_same_losses(theirs, ours):
    from pytorch_metric_learning import losses

    names = {name: getattr(partialfc, name) for name in partialfc.__all__}
    names |= {"losses": losses, "math": math, "C": C, "D": D}
    theirs, ours = eval(theirs, names), eval(ours, names)
    partialfc.RowSGD(ours, lr=0.1)
    with torch.no_grad():
        ours.weight.copy_(theirs.W.T.reshape(ours.weight.shape))
    rows, labels = torch.randn(24, D, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 20
    found = []
    for of in (theirs, ours):
        embeddings = rows.clone().requires_grad_()
        value = of(embeddings, labels)
        value.backward()
        found.append((value.detach(), embeddings.grad))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_the_table_has_four_losses_that_are_the_same():
    assert len(ROWS) == 4


def both_losses() -> torch.Tensor:
    """The gradient of a network's weight by the head and triplets, each rank on its part of one batch."""
    from pytorch_metric_learning import losses
    from pytorch_metric_learning.utils.distributed import DistributedLossWrapper

    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    torch.manual_seed(0)
    network = torch.nn.Linear(12, 16)
    images, labels = torch.randn(16, 12)[rank::ranks], (torch.arange(16) % 5)[rank::ranks]
    parallel = torch.nn.parallel.DistributedDataParallel(network)
    head = partialfc.PartialFC(16, 10, margin=partialfc.CosFace(scale=16, margin=0.2))
    partialfc.RowSGD(head, lr=0.1)
    triplets = DistributedLossWrapper(losses.TripletMarginLoss(margin=0.2))
    embeddings = parallel(images)
    (head(embeddings, labels) + 0.5 * triplets(embeddings, labels)).backward()
    return network.weight.grad


def test_both_losses_have_the_gradients_of_one_process(run_ranks):
    (alone,) = run_ranks(both_losses, 1)
    for gradient in run_ranks(both_losses, 2):
        torch.testing.assert_close(gradient, alone, rtol=1e-5, atol=1e-6)


def test_a_network_on_another_normalisation_gets_it():
    (block,) = (b for b in blocks(DOCS / "how-to" / "metric-learning.md") if "class Normalised" in b.text)
    names = {"torch": torch}
    exec(compile(block.text, str(block), "exec"), names)
    pixels = torch.tensor([0.0, 255.0])[:, None, None, None].expand(2, 3, 4, 4)
    found = names["Normalised"](torch.nn.Identity())(pixels / 127.5 - 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(found[:, :, 0, 0], torch.stack([-mean / std, (1 - mean) / std]))


def overflowing(framework: str, both_at_once: bool) -> tuple[bool, bool]:
    """Whether backbone and centres move where the scaled gradient of the backbone alone overflows."""
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    backbone = torch.nn.Linear(8, 16)
    head = partialfc.PartialFC(16, 10, margin=partialfc.CosFace(scale=16, margin=0.2))
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SGD(backbone.parameters(), lr=0.1),
        partialfc.RowSGD(head, lr=0.1),
    ]
    if both_at_once:
        optimizers = [partialfc.JointOptimizer(*optimizers)]
    if framework == "fabric":
        fabric = Fabric(accelerator="cpu", plugins=MixedPrecision("16-mixed", "cpu", scaler=scaler))
        network, back = fabric.setup(backbone), fabric.backward
        prepared = [fabric.setup_optimizers(each) for each in optimizers]
    else:
        accelerator = Accelerator(cpu=True)  # which refuses float16 on a CPU, and so gets the scaler here
        accelerator.scaler = scaler
        network, back = backbone, lambda loss: scaler.scale(loss).backward()
        prepared = [AcceleratedOptimizer(each, scaler=scaler) for each in optimizers]
    before = backbone.weight.detach().clone(), head.weight.detach().clone()
    embeddings = network(torch.randn(4, 8)).float()
    embeddings.register_hook(lambda gradient: gradient * torch.inf)
    back(head(embeddings, torch.arange(4)))
    for each in prepared:
        each.step()
    after = backbone.weight, head.weight
    return not torch.equal(before[0], after[0]), not torch.equal(before[1], after[1])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_joint_optimizer_keeps_both_where_a_framework_scales_the_loss(framework):
    assert overflowing(framework, True) == (False, False)
    assert overflowing(framework, False) == (False, True)
