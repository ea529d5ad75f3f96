"""Training of uncertainty on the backbone of another run: what moves, what is saved, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from partialfc.config import Config
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from partialfc.deploy.quality import image_qualities, rater
from partialfc.deploy.trained import load_trained
from partialfc.errors import CheckpointError, ConfigError
from partialfc.evaluation.embed import embed
from partialfc.evaluation.verification import verify
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from partialfc.uncertainty import confidence, mutual_likelihood, split
from tests.processes import call
from tests.train_cases import small_config, write_data
from tests.training.cases import moved, run

SIZE = 16
BACKBONE = {"name": "convnet", "options": {"widths": [8, 8]}}
PAIRS = {"sampler": "identities", "images_per_identity": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished run, its data, and pairs of it."""
    folder = tmp_path_factory.mktemp("pfe")
    source = open_source(write_data(folder))
    run(small_config(folder, backbone=BACKBONE))
    write_pairs(folder / "pairs.bin", make_pairs(source, pairs=60, seed=0))
    return folder


def of(folder: Path, name: str, *overrides: str, **sections) -> Config:
    """A config of the uncertainty of `folder`'s run, in a folder `name` of its own."""
    parts = {
        "run": {"dir": str(folder / name)},
        "data": PAIRS,
        "backbone": BACKBONE,
        "objective": {"name": "pfe", "backbone_from": str(folder / "run")},
        "head": {"margin": {"name": "arcface", "scale": 64, "margin": 0.5}, "sample_rate": 1.0},
        "optimizer": {"lr": 0.003},
    }
    merged = {key: parts.get(key, {}) | sections.get(key, {}) for key in {*parts, *sections}}
    return small_config(folder, *overrides, **merged)


def trained_losses(folder: Path, name: str) -> list[float]:
    lines = (folder / name / "metrics.jsonl").read_text().splitlines()
    return [each["loss"] for each in map(json.loads, lines) if each["event"] == "train"]


def end(config: Config) -> dict[str, torch.Tensor]:
    """A whole run on this rank; the network that it ends with."""
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        assert trainer.run()
    return {name: t.clone() for name, t in trainer.state.objective.network.state_dict().items()}


def test_sigma_is_learned_on_the_other_run_s_backbone_and_loads_back(folder):
    ended = end(of(folder, "pfe"))
    found = trained_losses(folder, "pfe")
    assert found[-1] < found[0] - 1
    first, then = load_trained(folder / "run"), load_trained(folder / "pfe")
    assert first.probabilistic is None
    for name, tensor in first.backbone.state_dict().items():
        assert torch.equal(tensor, then.backbone.state_dict()[name]), name
        assert torch.equal(tensor, ended[f"backbone.{name}"]), name
    for name, tensor in then.probabilistic.uncertainty.state_dict().items():
        assert torch.equal(tensor, ended[f"uncertainty.{name}"]), name
    images = torch.randint(256, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mean, log_variance = split(then.gaussians(images))
    torch.testing.assert_close(mean, torch.nn.functional.normalize(first(images)), atol=1e-6, rtol=0)
    assert log_variance.shape == (3, SIZE)
    assert then.gaussians(images).requires_grad is False
    with pytest.raises(CheckpointError, match="centres"):
        then.centres()
    with pytest.raises(
        ConfigError, match="gives embeddings without uncertainty: train the rest with objective"
    ):
        first.gaussians(images)


def test_the_commands_take_such_a_run_for_what_it_is(folder):
    if not (folder / "pfe").exists():
        end(of(folder, "pfe"))
    pairs = ("--pairs", folder / "pairs.bin", "--folds", 2, "--json")
    mls, same, cosine = (
        json.loads(call("evaluate", folder / "pfe", *pairs, *more).stdout)
        for more in ((), ("--score", "mls"), ("--score", "cosine"))
    )
    assert mls == same
    assert (mls["score"], cosine.get("score")) == ("mls", None)
    assert cosine == json.loads(call("evaluate", folder / "run", *pairs).stdout)
    assert mls["threshold"] != cosine["threshold"]
    refused = call("evaluate", folder / "pfe", *pairs, "--flip", "sum")
    assert "--flip sum joins two embeddings, and Gaussians cannot be" in refused.stderr
    written = json.loads(call("quality", folder / "pfe", folder / "train.rec", "--json").stdout)
    assert written["by"] == "pfe"
    trained, source = load_trained(folder / "pfe"), open_source(folder / "train.rec")
    found = [*image_qualities(trained, rater(trained), source, device=torch.device("cpu"))]
    assert [each["quality"] for each in written["images"]] == pytest.approx(found, rel=1e-5)
    assert min(found) > 0
    assert confidence(torch.zeros(1, 4)).item() == 1
    drawn = call(
        "plot", "reject", folder / "pfe", *pairs[:2], "--fmr", 0.1, "--output", folder / "a.png", "--json"
    )
    assert list(json.loads(drawn.stdout)["areas"]) == ["pfe: pfe", "pfe: random"]


@pytest.mark.parametrize("ranks", [0, 2], ids="{} ranks".format)
def test_sets_are_searched_by_likelihood(folder, ranks):
    """As loops over the Gaussians of single images say."""
    if not (folder / "pfe").exists():
        end(of(folder, "pfe"))
    trained, source = load_trained(folder / "pfe"), open_source(folder / "train.rec")
    size = {"image_size": trained.image_size, "channels": trained.channels, "device": torch.device("cpu")}
    images, labels = [source.read(index)[0] for index in range(len(source))], source.class_ids()
    gaussians = embed(trained.require_probabilistic(), images, **size).double()
    scores = np.array([mutual_likelihood(each, gaussians).numpy() for each in gaussians])
    first, second = np.triu_indices(len(labels), 1)
    expected = verify(scores[first, second], labels[first] == labels[second], fars=[0.1])
    how = ("evaluate", folder / "pfe", "--score", "mls", "--json", "--bootstrap", 0)
    pairs = json.loads(call(*how, "--all-pairs", folder / "train.rec", "--far", 0.1, ranks=ranks).stdout)
    assert pairs["tar@far=1e-1"] == expected.tar[0.1]
    np.fill_diagonal(scores, -np.inf)
    hits = labels[scores.argmax(1)] == labels
    searched = json.loads(call(*how, "--retrieval", folder / "train.rec", "--rank", 1, ranks=ranks).stdout)
    assert searched["recall@1"] == hits.mean()
    assert 0 < hits.mean() < 1


MISTAKEN_SCORES = {
    "joined": (("--flip", "concat"), "--flip concat joins two embeddings, and Gaussians cannot be joined"),
    "cohort": (("--as-norm", "{rec}"), "--as-norm: a cohort's classes have no mean Gaussian; take --score"),
}


@pytest.mark.parametrize("mistake", MISTAKEN_SCORES)
def test_what_gaussians_cannot_be_compared_by_is_refused(folder, mistake):
    if not (folder / "pfe").exists():
        end(of(folder, "pfe"))
    words, says = MISTAKEN_SCORES[mistake]
    rec = folder / "train.rec"
    given = (word.format(rec=rec) for word in words)
    done = call("evaluate", folder / "pfe", "--all-pairs", rec, "--score", "mls", *given)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr


def test_templates_are_compared_by_the_cosine(folder):
    done = call("evaluate", folder / "run", "--templates", folder, "--score", "mls")
    assert "--score goes with --pairs or --all-pairs or" in done.stderr


def test_pairs_are_verified_by_likelihood(folder):
    sets = {"sets": {"own": str(folder / "pairs.bin")}, "every_steps": 100, "folds": 2}
    end(of(folder, "verified", verification=sets))
    (found,) = (each for each in read_metrics(folder / "verified") if each["event"] == "verification")
    how = ("--pairs", folder / "pairs.bin", "--folds", 2, "--json")
    printed = json.loads(call("evaluate", folder / "verified", *how, "--score", "mls").stdout)
    assert found["threshold"] == pytest.approx(printed["threshold"], rel=1e-5)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_resume_is_bit_for_bit_what_it_would_have_been(run_ranks, folder, world_size):
    name, even = f"halves{world_size}", {"schedule": {"name": "constant"}}
    (whole, *_) = run_ranks(end, world_size, of(folder, f"whole{world_size}", **even))
    run_ranks(end, world_size, of(folder, name, train={"steps": 6}, **even))
    (resumed, *_) = run_ranks(end, world_size, of(folder, name, **even))
    assert trained_losses(folder, name) == trained_losses(folder, f"whole{world_size}")
    for key, tensor in whole.items():
        assert torch.equal(tensor, resumed[key]), key


def test_with_shared_statistics_any_number_of_ranks_trains_the_same(run_ranks, folder):
    train = {"sync_batchnorm": True, "steps": 4}
    end(of(folder, "one", train=train, schedule={"warmup_steps": 1}))
    for ranks in (2, 3):
        run_ranks(end, ranks, of(folder, f"ranks{ranks}", train=train, schedule={"warmup_steps": 1}))
        assert trained_losses(folder, f"ranks{ranks}") == pytest.approx(
            trained_losses(folder, "one"), rel=1e-4
        )


MISTAKES = {
    "a head": ("head.sample_rate=0.5", "head: must be left out with objective.name: pfe, which has no head"),
    "losses": ("losses=[{name: triplet, weight: 1.0}]", "losses: must be left out with objective.name: pfe"),
    "no pairs": ("data={}", "data.sampler: must be identities, with data.images_per_identity of at least 2"),
    "single images": ("data.images_per_identity=1", "data.sampler: must be identities, with data.images_per"),
    "weights": ("backbone.weights=a.pt", "backbone.weights: must be null with objective.name: pfe"),
    "flip": ("verification.flip=true", "verification.flip: must be none with objective.name: pfe"),
    "no run": ("objective={name: pfe}", "objective.backbone_from: "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_does_not_go_together_is_named(folder, mistake):
    override, says = MISTAKES[mistake]
    data = {"train": str(folder / "train.rec"), "image_size": 8, "channels": 1}
    with pytest.raises(ConfigError) as caught:
        of(folder, "bad", override.replace("data={}", json.dumps(data).join(["data=", ""])))
    assert says in str(caught.value)


def test_another_backbone_than_the_run_s_is_told(folder):
    with pytest.raises(CheckpointError, match=r"^objective.backbone_from: .*run: .*does not fit"):
        end(of(folder, "other", backbone={"options": {"widths": [8, 16]}}))
    normed = {"name": "tests.train_cases:Normed", "options": {}}
    run(small_config(moved(folder, "normed"), train={"steps": 3}))
    from_normed = {"backbone_from": str(folder / "normed" / "run")}
    mapless = of(folder, "mapless", backbone=normed, objective=from_normed)
    with pytest.raises(ConfigError, match="a probabilistic embedding needs its last feature map"):
        end(mapless)
