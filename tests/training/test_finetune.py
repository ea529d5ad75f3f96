"""Runs that go on from another one's network: what they take over, what trains, and how they resume."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc.config import Config
from partialfc.data.images.codec import decode
from partialfc.data.sources.source import open_source
from partialfc.deploy.trained import load_trained
from partialfc.distributed.world import World
from partialfc.errors import CheckpointError, ConfigError, ImageError
from partialfc.finetune.lora import merge_lora
from partialfc.finetune.names import named_parameters
from partialfc.training.loop import Trainer
from tests.train_cases import CLASSES, small_config, write_class_records, write_data
from tests.training.cases import EXACT, assert_same_end, moved, run, stop_after_seven

CPU = torch.device("cpu")
TRUST = ["tests.train_cases"]
NAMES = [f"p{number}" for number in range(CLASSES)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, whose classes have names, and of its data."""
    folder = tmp_path_factory.mktemp("base")
    write_data(folder)
    name_classes(folder, NAMES)
    run(small_config(folder, "train.steps=6"))
    return folder


def name_classes(folder: Path, names: list[str]) -> None:
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names))


PARTS = {
    "freeze": ["features"],
    "lr_scale": {"head.1": 0.5, "*.lora_b": 2.0},
    "lora": {"rank": 2, "patterns": ["head.1"], "alpha": 4.0},
}


def tuned(folder: Path, base: Path, *overrides: str, finetune: dict[str, Any] | None = None, **sections: Any):
    section = {"backbone_from": str(base / "run"), "head_from": "random"} | (
        PARTS if finetune is None else finetune
    )
    return small_config(folder, *overrides, finetune=section, **sections)


def frozen_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if name.startswith("features.")}


# What trains


@pytest.mark.parametrize(
    ("world_size", "optimizer", "overrides"),
    [
        (1, "sgd", ()),
        (2, "adamw", ("train.accumulation=2",)),
        (3, "sgd", ("train.sync_batchnorm=true",)),
        (2, "sgd", ("train.amp=bfloat16",)),
    ],
    ids=["alone", "two ranks, adamw, accumulation", "three ranks, synchronised", "two ranks, bfloat16"],
)
def test_frozen_parts_stay_and_the_run_ends_as_a_plain_network(
    run_ranks, folder, base, world_size, optimizer, overrides
):
    config = tuned(folder, base, *overrides, optimizer={"name": optimizer, "lr": 0.02})
    results = run_ranks(run, world_size, config)
    before = load_trained(base / "run", trust=TRUST).backbone.state_dict()
    trained = load_trained(folder / "run", trust=TRUST)
    for result in results:
        assert result["backbone"].keys() == before.keys()
        assert all(
            torch.equal(tensor, before[name]) for name, tensor in frozen_of(result["backbone"]).items()
        )
        assert not torch.equal(result["backbone"]["head.1.weight"], before["head.1.weight"])
        assert not torch.equal(result["backbone"]["head.1.bias"], before["head.1.bias"])
        for name, tensor in trained.backbone.state_dict().items():
            assert torch.equal(tensor, result["backbone"][name])
    moved_by = trained.backbone.state_dict()["head.1.weight"] - before["head.1.weight"]
    assert torch.linalg.matrix_rank(moved_by, rtol=1e-3) == 2


def test_the_merged_network_gives_what_the_trained_one_gave(folder, base):
    trainer = Trainer(tuned(folder, base, "train.steps=4"), CPU)
    with trainer.running():
        trainer.run()
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    with torch.no_grad():
        network = trainer.objective.backbone.eval()
        wanted = network(images)
        assert torch.equal(load_trained(folder / "run", trust=TRUST)(images), wanted)
        merge_lora(network)
        assert torch.equal(network(images), wanted)


@pytest.mark.parametrize("world_size", [1, 2])
def test_with_everything_frozen_the_centres_alone_train(run_ranks, folder, base, world_size):
    config = tuned(folder, base, finetune={"freeze": ["*"]})
    results = run_ranks(run, world_size, config)
    before = load_trained(base / "run", trust=TRUST).backbone.state_dict()
    for result in results:
        assert result["finished"]
        assert all(torch.equal(tensor, before[name]) for name, tensor in result["backbone"].items())
    rows = torch.cat([result["rows"] for result in results])
    assert not torch.isclose(
        rows, rows_before_training(tuned(moved(folder, "begin"), base, finetune={}))
    ).any()


def test_a_network_that_normalises_over_the_batch_may_be_frozen_with_one_sample(folder, base, tmp_path):
    backbone = {"name": "convnet", "options": {"widths": [4, 4]}}
    first = moved(folder, "first")
    run(small_config(first, "train.steps=3", backbone=backbone))
    frozen = {"backbone_from": str(first / "run"), "head_from": "random", "freeze": ["*"]}
    one = {"batch_size": 1, "steps": 3}
    assert run(small_config(folder, finetune=frozen, backbone=backbone, train=one))["finished"]


def backbone_after(config: Config) -> dict[str, torch.Tensor]:
    trainer = Trainer(config, CPU)
    with trainer.running():
        assert trainer.run()
    return trainer.objective.backbone.state_dict()


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("objective", ["distill", "pool"])
def test_it_goes_with_what_else_trains_a_backbone(run_ranks, folder, base, objective, world_size):
    teacher = {"name": "distill", "teacher_from": str(base / "run"), "weight": 1.0, "trust": TRUST}
    sections = {
        "distill": {"objective": teacher, "finetune": PARTS},
        "pool": {
            "head": {"name": "pool", "pool": {"size": 12.0}, "sample_rate": 1.0},
            "data": {"sampler": "half_identities"},
            "finetune": {"freeze": ["features"], "lr_scale": {"head.1": 0.5}},
        },
    }[objective]
    whole = run_ranks(backbone_after, world_size, tuned(folder, base, **sections))
    before = load_trained(base / "run", trust=TRUST).backbone.state_dict()
    for state in whole:
        assert all(torch.equal(tensor, before[name]) for name, tensor in frozen_of(state).items())
        assert not torch.equal(state["head.1.weight"], before["head.1.weight"])
    parts = moved(folder, "parts")
    run_ranks(stop_after_seven, world_size, tuned(parts, base, **sections))
    resumed = run_ranks(backbone_after, world_size, tuned(parts, base, **sections))
    assert all(torch.equal(tensor, resumed[0][name]) for name, tensor in whole[0].items())


@pytest.mark.slow
def test_a_compiled_run_trains_as_the_uncompiled_one(folder, base):
    parts = PARTS | {"freeze": ["features", "head.0"]}  # dropout too, whose random numbers would differ
    plain = run(tuned(folder, base, "train.steps=3", finetune=parts))
    other = moved(folder, "compiled")
    compiled = run(tuned(other, base, "train.steps=3", "backbone.compile=true", finetune=parts))
    for name, tensor in plain["backbone"].items():
        torch.testing.assert_close(compiled["backbone"][name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("finetune", "message"),
    [
        ({"freeze": ["featrues"]}, r"finetune.freeze: 'featrues' matches no .* it has features"),
        ({"lr_scale": {"hd": 0.1}}, r"finetune.lr_scale: 'hd' matches no"),
        (
            {"lora": {"rank": 2, "patterns": ["features.1"]}},
            r"finetune.lora.patterns: 'features.1' names no Linear",
        ),
        ({"lora": {"rank": 9}}, r"lora.rank is 9; the weight of features.0 is a matrix of 8 x 9, so .* 1..8"),
    ],
    ids=["freeze", "lr_scale", "lora", "rank"],
)
def test_names_that_the_backbone_does_not_have_are_told(folder, base, finetune, message):
    with pytest.raises(ConfigError, match=message):
        Trainer(tuned(folder, base, finetune=finetune), CPU)


@pytest.mark.parametrize("freeze", [["*"], ["features", "head"]], ids=["all", "each part"])
@pytest.mark.parametrize("objective", ["alone", "pool"])
def test_something_has_to_train(folder, base, objective, freeze):
    sections = {
        "alone": {
            "objective": {
                "name": "distill",
                "teacher_from": str(base / "run"),
                "weight": 1.0,
                "alone": True,
                "trust": TRUST,
            }
        },
        "pool": {
            "head": {"name": "pool", "pool": {"size": 12.0}, "sample_rate": 1.0},
            "data": {"sampler": "half_identities"},
        },
    }[objective]
    why = {"alone": "objective.alone: true", "pool": "head.name: pool"}[objective]
    named = re.escape(", ".join(freeze))
    message = (
        rf"finetune.freeze is \[{named}\], which leaves nothing to train: .* with {why} there are no centres"
    )
    with pytest.raises(ConfigError, match=message):
        Trainer(tuned(folder, base, finetune={"freeze": freeze}, **sections), CPU)
    updates = {"freeze": freeze, "lora": {"rank": 2}}
    if objective == "alone":  # a pool takes none
        Trainer(tuned(folder, base, finetune=updates, **sections), CPU)


def test_a_missing_run_is_named_by_the_key(folder, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"^finetune.backbone_from: .*none: neither a checkpoint nor a run with"
    ):
        Trainer(tuned(folder, tmp_path, finetune={"backbone_from": str(tmp_path / "none")}), CPU)


def test_a_file_of_weights_is_taken_too(folder, base):
    weights = {
        f"module.{n}": t for n, t in load_trained(base / "run", trust=TRUST).backbone.state_dict().items()
    }
    torch.save({"state_dict": weights}, folder / "weights.pt")
    trainer = Trainer(tuned(folder, base, finetune={"backbone_from": str(folder / "weights.pt")}), CPU)
    for name, tensor in trainer.objective.backbone.state_dict().items():
        assert torch.equal(tensor, weights[f"module.{name}"])


# Learning rates


def test_the_schedule_moves_every_group_by_its_share(folder, base):
    trainer = Trainer(tuned(folder, base), CPU)
    with trainer.running():
        trainer._train_step()
        groups = trainer.state.optimizer.param_groups
        assert [group["lr_scale"] for group in groups] == [1.0, 0.5, 2.0]
        assert [group["lr"] for group in groups] == pytest.approx([0.05, 0.025, 0.1])
        assert trainer.state.learning_rates == pytest.approx({"backbone": 0.05, "head": 0.05})
        trainer._train_step()
        assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.05, 0.2])


# Resuming


@pytest.mark.parametrize(
    ("world_size", "optimizer", "overrides"),
    [(1, "adamw", ()), (2, "sgd", ("train.sync_batchnorm=true",)), (2, "sgd", ("finetune.head_from=means",))],
    ids=["alone, adamw", "two ranks, sgd", "two ranks, means"],
)
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(
    run_ranks, folder, base, world_size, optimizer, overrides
):
    options = {"optimizer": {"name": optimizer, "lr": 0.02}}
    whole = run_ranks(run, world_size, tuned(folder, base, *overrides, **options))
    parts = moved(folder, "parts")
    config = tuned(parts, base, *overrides, **options)
    run_ranks(stop_after_seven, world_size, config)
    assert_same_end(whole, run_ranks(run, world_size, config))


def test_another_world_size_goes_on_alike(run_ranks, folder, tmp_path_factory):
    first = tmp_path_factory.mktemp("exact")
    write_data(first)
    run(small_config(first, "train.steps=3", **EXACT))
    section = {"backbone_from": str(first / "run"), "head_from": "means", "freeze": ["layers.1.bias"]}
    section |= {"lr_scale": {"layers.3": 0.5}, "lora": {"rank": 3, "patterns": ["layers.1"]}}
    whole = run(small_config(folder, finetune=section, **EXACT))
    parts = moved(folder, "parts")
    config = small_config(parts, finetune=section, **EXACT)
    run_ranks(stop_after_seven, 2, config)
    resumed = run_ranks(run, 3, config)
    torch.testing.assert_close(torch.cat([r["rows"] for r in resumed]), whole["rows"], rtol=1e-9, atol=1e-11)
    for name, tensor in resumed[0]["backbone"].items():
        torch.testing.assert_close(tensor, whole["backbone"][name], rtol=1e-9, atol=1e-11)


def momenta(trainer: Trainer) -> dict[str, torch.Tensor]:
    named = named_parameters(trainer.objective.backbone)
    return {
        name: state["exp_avg"] for name, p in named.items() if (state := trainer.state.optimizer.state[p])
    }


def test_other_groups_and_other_frozen_parts_keep_every_parameters_momentum(folder, base):
    """So parts can be thawed one after another."""
    adamw = {"optimizer": {"name": "adamw", "lr": 0.02}}
    trainer = Trainer(tuned(folder, base, finetune={"freeze": ["head"]}, **adamw), CPU)
    with trainer.running():
        trainer._train_step()
        trainer._save()
    before = momenta(trainer)
    assert before.keys() == {f"features.{layer}.{name}" for layer in "01" for name in ("weight", "bias")}
    other = {"freeze": ["features.0"], "lr_scale": {"features.1.bias": 0.5, "head": 2.0}}
    resumed = Trainer(tuned(folder, base, finetune=other, **adamw), CPU)
    assert momenta(resumed).keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in momenta(resumed).items())
    with resumed.running():
        resumed._train_step()
    assert momenta(resumed).keys() == {*before, "head.1.weight", "head.1.bias"}
    assert torch.equal(momenta(resumed)["features.0.weight"], before["features.0.weight"])


@pytest.mark.parametrize(
    ("finetune", "message"),
    [
        ({"freeze": ["features"]}, r"finetune.lora .'rank': 2.* -> null"),
        (
            PARTS | {"lora": {"rank": 1, "patterns": ["head.1"]}},
            r"finetune.lora .*'rank': 2.* -> .*'rank': 1",
        ),
    ],
    ids=["none", "another rank"],
)
def test_other_low_rank_updates_are_refused(folder, base, finetune, message):
    run(tuned(folder, base, "train.steps=3"))
    with pytest.raises(CheckpointError, match=message):
        Trainer(tuned(folder, base, finetune=finetune), CPU)


def test_a_run_without_them_does_not_go_on_with_them(folder, base):
    run(tuned(folder, base, "train.steps=3", finetune={}))
    with pytest.raises(CheckpointError, match=r"finetune.lora null -> .*'rank': 2"):
        Trainer(tuned(folder, base), CPU)


# The first centres


def rows_before_training(config) -> torch.Tensor:
    trainer = Trainer(config, CPU)
    assert trainer.state.step == 0
    sizes = World.of().gather_integers([len(trainer.objective.head.shard)])[:, 0].tolist()
    return World.of().all_gather_rows(trainer.objective.head.weight.detach(), sizes)


def means_by_a_loop(path: Path, backbone: torch.nn.Module) -> torch.Tensor:
    """The unit mean [C, D] of unit embeddings, one image at a time."""
    source, sums = open_source(path), torch.zeros(CLASSES, 16)
    for index in range(len(source)):
        data, label = source.read(index)
        pixels = torch.from_numpy(decode(data, channels=1)).permute(2, 0, 1)[None]
        with torch.no_grad():
            sums[label] += torch.nn.functional.normalize(backbone(pixels / 127.5 - 1))[0]
    return torch.nn.functional.normalize(sums)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_centres_begin_at_the_means_of_their_classes(run_ranks, folder, base, world_size):
    parts = {"finetune": {"head_from": "means", "freeze": ["features"]}, "verification": {"batch_size": 4}}
    random = rows_before_training(tuned(moved(folder, "random"), base, finetune={}))
    wanted = means_by_a_loop(folder / "train.rec", load_trained(base / "run", trust=TRUST).backbone)
    for rows in run_ranks(rows_before_training, world_size, tuned(folder, base, **parts)):
        torch.testing.assert_close(torch.nn.functional.normalize(rows), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(rows.norm(dim=1), random.norm(dim=1))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_centres_are_taken_over_by_the_classes_names(run_ranks, folder, base, world_size):
    names = [*NAMES[::-1][:12], *(f"new {number}" for number in range(8))]
    name_classes(folder, names)
    random = rows_before_training(tuned(moved(folder, "random"), base, finetune={}))
    theirs = load_trained(base / "run", trust=TRUST).centres()
    config = tuned(folder, base, finetune={"head_from": str(base / "run")})
    for rows in run_ranks(rows_before_training, world_size, config):
        assert torch.equal(rows[:12], theirs.flip(0)[:12])
        assert torch.equal(rows[12:], random[12:])


def test_what_centres_need_is_said(folder, base):
    with pytest.raises(
        ConfigError, match=r"finetune.head_from is .*, but the classes of .*train.rec have no names"
    ):
        Trainer(tuned(folder, base, finetune={"head_from": str(base / "run")}), CPU)
    name_classes(folder, [f"q{number}" for number in range(CLASSES)])
    with pytest.raises(ConfigError, match=r"finetune\.head_from: no class has the name of one of"):
        Trainer(tuned(folder, base, finetune={"head_from": str(base / "run")}), CPU)
    with pytest.raises(CheckpointError, match=r"finetune\.head_from: .*neither a checkpoint nor a run"):
        Trainer(tuned(folder, base, finetune={"head_from": str(folder)}), CPU)


def test_what_takes_long_before_the_first_step_is_announced(folder, base, caplog):
    """And before it, that its type is slow on a CPU: later there is nothing left to stop."""
    with caplog.at_level(logging.INFO):
        rows_before_training(tuned(folder, base, "train.amp=float16", finetune={"head_from": "means"}))
    said = ("train.amp is float16, which is slow", "means: embedding 120 images", "begin at the means of")
    places = [caplog.text.index(words) for words in said]
    assert places == sorted(places)


def damaged(folder: Path) -> Path:
    """Two classes of two images, one of which does not decode."""
    write_data(folder, 2)
    source = open_source(folder / "train.rec")
    images = [source.read(index)[0] for index in (0, 1, 6, 7)]
    images[1] = images[1][: len(images[1]) // 2]
    write_class_records(folder / "bad.rec", list(zip([0, 0, 1, 1], images, strict=True)), classes=2)
    return folder / "bad.rec"


def test_images_that_do_not_decode_are_left_out_where_training_may_skip_them(tmp_path, base, caplog):
    path = damaged(tmp_path)
    means = {"head_from": "means"}
    with pytest.raises(ImageError, match=r"bad\.rec record 2: "):
        Trainer(tuned(tmp_path, base, f"data.train={path}", finetune=means), CPU)
    with caplog.at_level(logging.WARNING):
        rows = rows_before_training(
            tuned(tmp_path, base, f"data.train={path}", "data.max_bad_records=1", finetune=means)
        )
    assert "bad record 1 of at most 1, left out of its class's mean" in caplog.text
    source = open_source(path)
    backbone = load_trained(base / "run", trust=TRUST).backbone
    pixels = torch.from_numpy(decode(source.read(0)[0], channels=1)).permute(2, 0, 1)[None]
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(backbone(pixels / 127.5 - 1))
    torch.testing.assert_close(torch.nn.functional.normalize(rows[:1]), wanted, rtol=1e-4, atol=1e-5)
