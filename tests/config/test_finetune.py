"""The section finetune: what it accepts, and what it says of anything else."""

import re

import pytest

from tests.config.cases import failure, small

FROM = "finetune.backbone_from=runs/a"
POOL = ("head.name=pool", "head.pool.size=0.5", "data.sampler=half_identities")


def test_it_is_off_unless_asked_for():
    assert small().finetune is None
    assert small().initial_weights is None


def test_patterns_and_factors_are_read():
    section = small(
        FROM,
        "finetune.freeze=[layer1, '*.bn1']",
        "finetune.lr_scale={layer2.*: 0.1, fc: 2.0}",
        "finetune.lora={rank: 4, patterns: [fc], alpha: 8.0}",
        "finetune.head_from=random",
    ).finetune
    assert section.freeze == ("layer1", "*.bn1")
    assert section.lr_scale == {"layer2.*": 0.1, "fc": 2.0}
    assert (section.lora.rank, section.lora.patterns, section.lora.alpha) == (4, ("fc",), 8.0)
    assert section.head_from == "random"


@pytest.mark.parametrize(
    ("override", "key"),
    [(FROM, "finetune.backbone_from"), ("backbone.weights=runs/a", "backbone.weights")],
    ids=["finetune", "backbone"],
)
def test_the_weights_come_from_one_place(override, key):
    config = small(override, "finetune.freeze=[fc]")
    assert (config.initial_weights[0], str(config.initial_weights[1])) == (key, "runs/a")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [FROM, "backbone.weights=w.pt"],
            "finetune.backbone_from: is runs/a, and backbone.weights is w.pt: .* leave one of them out",
        ),
        ([FROM, "finetune.lora={rank: 8, patterns: []}"], "finetune.lora.patterns: .*at least 1"),
        (
            [FROM, "objective={name: pfe, backbone_from: runs/b}"],
            "finetune: must be left out with objective.name: pfe, which trains no backbone",
        ),
        (
            [FROM, "objective={name: distill, teacher_from: runs/b, weight: 7.0, alone: true}"],
            "finetune.head_from: must be random with objective.name: distill, alone, .* got 'means'",
        ),
        (
            [FROM, *POOL],
            "finetune.head_from: must be random with head.name: pool, where classes have no .* got 'means'",
        ),
        (
            [FROM, *POOL, "finetune.head_from=random", "finetune.lora.rank=2"],
            "finetune.lora: must be null with head.name: pool, whose gallery network follows the weights",
        ),
        (["finetune.freeze=[fc]"], "finetune: a network to be fine-tuned must come from somewhere: give"),
        ([FROM, "finetune.freeze=fc"], "finetune.freeze: must be a list of names or patterns .* got 'fc'"),
        ([FROM, "finetune.freeze=[1]"], r"finetune.freeze.0: must be text, got 1"),
        ([FROM, "finetune.lr_scale={fc: 0.0}"], r"finetune.lr_scale.fc: .*greater than 0"),
        ([FROM, "finetune.lr_scale=0.1"], r"finetune.lr_scale: must be values by name, such as .layer1: 0.1"),
        ([FROM, "finetune.lora.rank=0"], r"finetune.lora.rank: .*greater than or equal to 1"),
        ([FROM, "finetune.lora={patterns: [fc]}"], r"finetune.lora.rank: is required: Rank r"),
        ([FROM, "finetune.head_from=~/run"], r"finetune: head_from must be means, random or a path"),
        ([FROM, "finetune.frezee=[fc]"], r"finetune.frezee: unknown key; did you mean finetune.freeze"),
    ],
)  # fmt: skip
def test_what_it_refuses_is_named(overrides, message):
    assert re.search(message, failure(*overrides))
