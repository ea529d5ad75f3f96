"""Backbones and heads that cannot be built, or cannot train."""

import re

import pytest
import torch
from torch import Tensor, nn

from partialfc.backbones import build_backbone
from partialfc.doctor import Level
from tests import train_cases
from tests.doctor.cases import examined, found, quick
from tests.paths import FIXTURES


class Broken(nn.Module):
    """Cannot train: its forward pass fails."""

    def __init__(self, *, embedding_size: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.layer = nn.Linear(image_size, embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        raise ValueError("no such layer")


class Hungry(Broken):
    """Runs out of memory, as torch says it on a GPU."""

    def forward(self, images: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("tried to allocate 80 GiB")


def test_a_backbone_that_does_not_exist_or_does_not_run_is_red(folder):
    check = found(quick(folder, "backbone.name=iresnet51"), "backbone")
    assert check.level == Level.RED
    assert "iresnet51" in check.says
    config = train_cases.small_config(folder, "backbone.name=tests.doctor.test_training:Broken")
    step = found(examined(config), "step")
    assert step.level == Level.RED
    assert "no such layer" in step.says
    config = train_cases.small_config(folder, "backbone.name=tests.doctor.test_training:Hungry")
    memory = found(examined(config), "memory")
    assert memory.level == Level.RED
    assert "tried to allocate 80 GiB" in memory.says
    assert "train.batch_size" in memory.remedy


def test_a_teacher_that_cannot_teach_is_red(folder):
    objective = "{name: distill, teacher_from: nowhere, weight: 7}"
    check = found(quick(folder, f"objective={objective}"), "teacher")
    assert check.level == Level.RED
    assert "objective.teacher_from: nowhere: neither a checkpoint nor a run" in check.says


FROM = f"finetune.backbone_from={FIXTURES / 'run_0.1.0'}"


@pytest.mark.parametrize(
    ("overrides", "name", "message"),
    [
        (("finetune.freeze=[layer.1]",), "backbone", "finetune.freeze: 'layer.1' matches no module"),
        (("finetune.lr_scale={layers.9: 0.1}",), "head", "finetune.lr_scale: 'layers.9' matches no"),
        (("finetune.head_from=nowhere",), "head", "finetune.head_from: nowhere: neither a checkpoint nor"),
    ],
    ids=["freeze", "lr_scale", "head_from"],
)
def test_what_cannot_be_fine_tuned_is_red(folder, overrides, name, message):
    check = found(quick(folder, "backbone.name=tests.train_cases:Tiny", FROM, *overrides), name)
    assert check.level == Level.RED
    assert message in check.says


def test_a_step_of_a_frozen_backbone_is_measured(folder):
    overrides = ("backbone.name=tests.train_cases:Tiny", FROM, "finetune.freeze=['*']")
    assert found(examined(train_cases.small_config(folder, *overrides)), "step").level == Level.GREEN


def test_a_backbone_without_a_feature_map_cannot_learn_with_parts_hidden(folder):
    check = found(quick(folder, "objective={name: occlusion}"), "objective")
    assert check.level == Level.RED
    assert "objective.name is occlusion, but backbone Normed: occlusion needs its last feature" in check.says
    ready = train_cases.small_config(folder, "objective={name: occlusion}", "backbone.name=convnet")
    assert found(examined(ready), "step").level == Level.GREEN


def test_an_objective_without_a_head_is_measured_without_one(folder):
    weights = build_backbone("convnet", embedding_size=16, image_size=8, channels=1).state_dict()
    torch.save(weights, folder / "backbone.pt")
    given = {
        "data": {"sampler": "identities", "images_per_identity": 4},
        "backbone": {"name": "convnet"},
        "head": {"margin": {"name": "arcface", "scale": 64, "margin": 0.5}, "sample_rate": 1.0},
        "objective": {"name": "pfe", "backbone_from": str(folder / "backbone.pt")},
    }
    report = examined(train_cases.small_config(folder, "data.num_classes=1_000_000_000", **given))
    assert found(report, "memory").level == Level.GREEN
    assert "head 0" in found(report, "step").says
    check = found(quick(folder, "objective.backbone_from=nowhere.pt", **given), "backbone_from")
    assert check.level == Level.RED
    assert "objective.backbone_from: nowhere.pt: neither a checkpoint nor a run" in check.says


@pytest.mark.parametrize("key", ["class_weights", "class_margins"])
def test_numbers_of_classes_are_read_for_all_classes(folder, key):
    path = folder / "numbers.txt"
    path.write_text("1\n" * train_cases.CLASSES)
    names = {finding.check.name for finding in quick(folder, f"head.{key}={path}").findings}
    assert "head" not in names
    path.write_text("1\n" * 16)
    check = found(quick(folder, f"head.{key}={path}"), "head")
    assert check.level == Level.RED
    assert "has the shape (16,), but there are 20 classes" in check.says


def test_a_head_with_all_that_a_class_may_have_is_measured(folder):
    overrides = ["head.sub_centers=2", "head.margins_by_size={}", "head.interclass_filter=0.5"]
    assert found(examined(train_cases.small_config(folder, *overrides)), "step").level == Level.GREEN


def test_a_head_that_cannot_be_built_is_red(folder):
    check = found(quick(folder, "head.margin.scale=200"), "head")
    assert check.level == Level.RED
    assert "scale" in check.says


POOL = {
    "head": {"name": "pool", "pool": {"size": 0.5}, "sample_rate": 1.0},
    "data": {"sampler": "half_identities"},
}


def test_a_class_pool_is_examined_as_a_head_is(folder):
    report = examined(train_cases.small_config(folder, **POOL))
    assert "(pool and gallery " in found(report, "memory").says
    assert re.search(r"computes .*: backbone .*, gallery .*, pool ", found(report, "step").says)
    assert report.level != Level.RED
    assert "step" not in {finding.check.name for finding in quick(folder, **POOL).findings}


def test_a_class_pool_that_does_not_fit_is_red(folder):
    huge = ("head.pool.size=1e9", "data.num_classes=10_000_000_000")
    check = found(quick(folder, *huge, **POOL), "memory")
    assert check.level == Level.RED
    assert "it does not fit -> lower head.pool.size, " in f"{check.says} -> {check.remedy}"
    check = found(quick(folder, "train.batch_size=96", **POOL), "head")
    assert check.level == Level.RED
    assert "head.pool.size is 0.5, of 20 classes 10, but a batch of 96 has 24 identities" in check.says


@pytest.mark.parametrize("objective", ["alone", "pool"])
def test_a_fine_tuning_in_which_nothing_trains_is_red(folder, objective):
    taught = {"name": "distill", "teacher_from": "nowhere", "weight": 1.0, "alone": True}
    given = {"alone": {"objective": taught}, "pool": POOL}[objective]
    frozen = ("finetune.freeze=['*']", "finetune.head_from=random")
    check = found(quick(folder, "backbone.name=tests.train_cases:Tiny", FROM, *frozen, **given), "backbone")
    assert check.level == Level.RED
    assert "finetune.freeze is [*], which leaves nothing to train" in check.says
