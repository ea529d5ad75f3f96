"""The section head.margin: its variants."""

import pytest
from pydantic import BaseModel

from partialfc.config import ArcFaceConfig, CombinedConfig, CosFaceConfig, NormalizedSoftmaxConfig
from tests.config.cases import small


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        ("{}", ArcFaceConfig(margin=0.5, beyond_pi="hard", margin_gradient="exact")),
        ("{name: arcface, beyond_pi: easy}", ArcFaceConfig(beyond_pi="easy")),
        ("{name: cosface}", CosFaceConfig(name="cosface", scale=64.0, margin=0.35)),
        (
            "{name: normalized_softmax, scale: 30}",
            NormalizedSoftmaxConfig(name="normalized_softmax", scale=30.0),
        ),
        ("{name: combined}", CombinedConfig(name="combined", m1=1.0, m2=0.5, m3=0.0)),
    ],
)
def test_a_margin_is_chosen_by_its_name(margin: str, expected: BaseModel) -> None:
    assert small(f"head.margin={margin}").head.margin == expected
