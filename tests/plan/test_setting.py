"""What a plan may be asked, and how many rows then take part."""

from dataclasses import replace

import pytest

from partialfc.errors import ConfigError
from tests.plan.cases import FACES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 0}, "classes is 0; it must be a whole number from 1 to 1,000"),
        ({"gpus": 10**16}, "gpus is 10000000000000000; it must be a whole number from 1 to 1,000"),
        ({"sample_rate": 1.5}, "sample_rate is 1.5; it must be above 0 and at most 1"),
        ({"sample_rate": float("nan")}, "sample_rate is nan"),
        ({"weight_dtype": "int8"}, "weight_dtype is 'int8'; it must be one of float32, float64, bfloat16"),
        ({"optimizer": "adam"}, "optimizer is 'adam'; it must be one of sgd, adamw"),
        (
            {"gather_dtype": "float32"},
            "gather_dtype is 'float32'; it must be one of bfloat16, float16, or left",
        ),
        ({"images_per_identity": 0}, "images_per_identity is 0; it must be a whole number of at least 1"),
        ({"optimizer": None}, "optimizer is None; it must be one of sgd, adamw$"),
        (
            {"optimizer": "adamw", "momentum_dtype": "int8"},
            "momentum_dtype is 'int8', but optimizer adamw has",
        ),
        (
            {"optimizer": "adamw", "unsampled": "dense"},
            "unsampled is 'dense', but optimizer adamw knows only",
        ),
    ],
)
def test_a_setting_that_cannot_be_says_why(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(FACES, **changes)


def test_a_setting_names_all_that_is_wrong_with_it():
    with pytest.raises(ConfigError) as raised:
        replace(FACES, classes=0, device="mps", sample_rate=2.0)
    assert [line.split()[0] for line in str(raised.value).splitlines()] == [
        "classes",
        "sample_rate",
        "device",
    ]


def test_a_batch_larger_than_the_sample_takes_its_positives_with_it():
    setting = replace(FACES, classes=100_000, gpus=64)
    assert setting.rows == round(0.1 * 1563)
    assert replace(setting, sample_rate=0.01).rows == pytest.approx(1563 * (1 - (1 - 1e-5) ** 8192), abs=1)
    assert replace(setting, classes=1, gpus=1).rows == 1


def test_a_batch_of_identities_has_fewer_positives():
    """8,192 samples of 4 images each are 2,048 of 100,000 classes: 2 % of a shard of 1,563."""
    setting = replace(FACES, classes=100_000, gpus=64, sample_rate=0.01, images_per_identity=4)
    assert setting.rows == round(1563 * 2048 / 100_000 + 0.5)
    assert replace(setting, images_per_identity=None).rows > 3 * setting.rows
    assert replace(setting, classes=1000).rows == 16  # a shard has no more
