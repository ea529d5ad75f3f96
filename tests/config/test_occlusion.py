"""The objective `occlusion` in a config."""

import pytest
import yaml

from partialfc.config import OcclusionConfig, dump_config, parse_config
from partialfc.config.plan import planned_setting
from tests.config.cases import failure, small


def test_its_defaults_and_what_is_saved_is_read_again():
    config = small("objective={name: occlusion, landmarks: [[0.3, 0.4], [0.7, 0.4]], ways: [region]}")
    assert config.objective == OcclusionConfig(
        name="occlusion", landmarks=((0.3, 0.4), (0.7, 0.4)), ways=("region",)
    )
    assert parse_config(yaml.safe_load(dump_config(config)), [], "saved") == config
    assert small("objective={name: occlusion}", "objective.size=0.3").objective.size == 0.3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ways: []", "objective.ways: must list one or more of region, half, random_half, each once"),
        ("ways: [half, half]", "objective.ways: must list one or more"),
        ("ways: half", "objective.ways: must be a list"),
        ("ways: [third]", "objective.ways.0: must be 'region', 'half' or 'random_half'"),
        ("landmarks: []", "objective.landmarks: must list points [x, y]"),
        ("landmarks: 0.5", "objective.landmarks: must list points [x, y]"),
        ("landmarks: [[0.5, no]]", "objective.landmarks: must list points [x, y]"),
        ("landmarks: [[0.5]]", "objective.landmarks: must list points [x, y]"),
        ("landmarks: [[0.5, 1.5]]", "objective.landmarks: must list points [x, y]"),
        ("ways: [half], landmarks: [[0.5, 0.5]]", "landmarks must be null without region among ways"),
        ("size: 0", "objective.size: must be greater than 0"),
        ("size: 1.5", "objective.size: must be less than or equal to 1"),
        ("share: 0", "objective.share: must be greater than 0"),
        ("adversary: -1", "objective.adversary: must be greater than or equal to 0"),
        ("segmentation: -1", "objective.segmentation: must be greater than or equal to 0"),
        ("hidden: 0", "objective.hidden: must be greater than or equal to 1"),
        ("at: pixels", "objective.at: must be 'map' or 'image'"),
        ("sized: 1", "objective.sized"),
    ],
)
def test_a_wrong_value_is_named(given, message):
    assert message in failure(f"objective={{name: occlusion, {given}}}")


@pytest.mark.parametrize(("unmasked", "rows"), [("true", 2), ("false", 1)])
def test_a_plan_counts_the_rows_that_the_head_is_given(unmasked, rows):
    more = "data.sampler=identities", "data.images_per_identity=4", "data.num_classes=1000"
    plain = planned_setting(small(*more), gpus=2)
    masked = planned_setting(small(*more, f"objective={{name: occlusion, unmasked: {unmasked}}}"), gpus=2)
    assert masked.batch == rows * plain.batch
    assert masked.images_per_identity == rows * plain.images_per_identity
