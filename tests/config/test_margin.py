"""The section head.margin: its variants, and what they refuse."""

import inspect
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from partialfc.config import (
    AdaFaceConfig,
    ArcFaceConfig,
    CombinedConfig,
    CosFaceConfig,
    CurricularFaceConfig,
    ElasticFaceConfig,
    LargeMarginSoftmaxConfig,
    MagFaceConfig,
    ModifiedSoftmaxConfig,
    MVSoftmaxConfig,
    NormalizedSoftmaxConfig,
    SoftmaxConfig,
    SphereFaceConfig,
    config_schema,
    dump_config,
    parse_config,
)
from partialfc.training.builders.head import MARGINS
from tests.config.cases import failure, small


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
        (
            "{name: mv_softmax, base: {margin: 0.3}}",
            MVSoftmaxConfig(name="mv_softmax", base=ArcFaceConfig(margin=0.3), t=0.2, adaptive=False),
        ),
        (
            "{name: mv_softmax, t: 0.3, adaptive: true, base: {name: cosface, scale: 32}}",
            MVSoftmaxConfig(
                name="mv_softmax", base=CosFaceConfig(name="cosface", scale=32.0), t=0.3, adaptive=True
            ),
        ),
        (
            "{name: curricularface}",
            CurricularFaceConfig(name="curricularface", scale=64.0, margin=0.5, momentum=0.01),
        ),
        (
            "{name: magface}",
            MagFaceConfig(name="magface", scale=64.0, l_a=10.0, u_a=110.0, l_m=0.45, u_m=0.8, lambda_g=20.0),
        ),
        (
            "{name: adaface}",
            AdaFaceConfig(name="adaface", scale=64.0, margin=0.4, h=0.333, momentum=0.01),
        ),
        (
            "{name: elasticface}",
            ElasticFaceConfig(name="elasticface", base="arcface", mean=0.5, std=0.05, plus=False),
        ),
        ("{name: softmax}", SoftmaxConfig(name="softmax", bias=False)),
        ("{name: modified_softmax}", ModifiedSoftmaxConfig(name="modified_softmax")),
        (
            "{name: sphereface}",
            SphereFaceConfig(name="sphereface", m=4, lambda_min=5.0, lambda_base=1000.0, lambda_gamma=0.12),
        ),
        (
            "{name: large_margin_softmax}",
            LargeMarginSoftmaxConfig(
                name="large_margin_softmax", m=4, lambda_min=0.0, lambda_base=0.0, lambda_gamma=0.0
            ),
        ),
    ],
)
def test_a_margin_is_chosen_by_its_name(margin: str, expected: BaseModel) -> None:
    config = small(f"head.margin={margin}")
    assert config.head.margin == expected
    assert parse_config(yaml.safe_load(dump_config(config)), [], "its own dump") == config


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        (
            "{name: mv_softmax, scale: 3}",
            "head.margin.scale: name: mv_softmax has no such key; did you mean head.margin.base.scale?",
        ),
        (
            "{name: mv_softmax, m2: 0.3}",
            "head.margin.m2: name: mv_softmax has no such key; did you mean head.margin.base.m2?",
        ),
        (
            "{name: mv_softmax, base: adaface}",
            "base: must be a section of keys and values, such as {name: arcface}, got 'adaface'",
        ),
        (
            "{name: mv_softmax, base: cosface}",
            "base: must be a section of keys and values, such as {name: cosface}, got 'cosface'",
        ),
        ("cosface", "head.margin: must be a section of keys and values, such as {name: cosface}, got 'cos"),
        (
            "{name: mv_softmax, base: {name: adaface}}",
            "head.margin.base.name: must be one of arcface",
        ),
        ("{name: mv_softmax, base: {margin: 4}}", "head.margin.base.margin: must be less than 3.14"),
        ("{name: mv_softmax, base: {name: cosface, m: 4}}", "head.margin.base.m: unknown key"),
        ("{name: mv_softmax, t: -1}", "head.margin.t: must be greater than or equal to 0"),
        ("{name: curricularface, momentum: 0}", "head.margin.momentum: must be greater than 0"),
        (
            "{name: curricularface, margin_gradient: exact}",
            "margin.margin_gradient: name: curricularface",
        ),
        ("{name: magface, l_a: 120}", "head.margin: u_a is 110; it must be above l_a, which is 120"),
        ("{name: magface, l_m: 0.9}", "head.margin: u_m is 0.8; it must be at least l_m, which is 0.9"),
        ("{name: magface, lambda_g: -1}", "head.margin.lambda_g: must be greater than or equal to 0"),
        ("{name: adaface, margin: 1}", "head.margin.margin: must be less than 1"),
        ("{name: adaface, h: 0}", "head.margin.h: must be greater than 0"),
        ("{name: elasticface, base: sphereface}", "head.margin.base: must be 'arcface' or 'cosface'"),
        (
            "{name: elasticface, base: cosface, mean: 2.5}",
            "margin: mean is 2.5; with base: cosface it must",
        ),
        (
            "{name: softmax, scale: 64}",
            "margin.scale: name: softmax has no such key; it belongs to ",
        ),
        ("{name: softmax, bias: 1}", "head.margin.bias: must be true or false, got 1"),
        (
            "{name: modified_softmax, bias: true}",
            "margin.bias: name: modified_softmax has no such key",
        ),
        ("{name: sphereface, m: 5}", "head.margin.m: must be less than or equal to 4"),
        ("{name: large_margin_softmax, m: 0}", "head.margin.m: must be greater than or equal to 1"),
        ("{name: sphereface, m: 2.5}", "head.margin.m: must be a whole number"),
        ("{name: sphereface, lambda_min: -1}", "head.margin.lambda_min: must be greater than or equal to 0"),
        ("{name: elasticface, std: -0.1}", "head.margin.std: must be greater than or equal to 0"),
    ],
)
def test_what_a_margin_does_not_take_is_refused(margin: str, message: str) -> None:
    assert message in failure(f"head.margin={margin}")


def variants(section: str) -> dict[str, dict[str, Any]]:
    """The schema of each variant of head.margin, or of a section in it, by its name."""
    definitions = config_schema()["$defs"]
    entry = definitions["HeadConfig"]["properties"]["margin"]
    if section == "base":
        entry = definitions["MVSoftmaxConfig"]["properties"]["base"]
    return {
        name: definitions[reference.rpartition("/")[2]]
        for name, reference in entry["discriminator"]["mapping"].items()
    }


@pytest.mark.parametrize("name", MARGINS)
def test_the_schema_has_each_margins_keys_with_its_own_defaults(name: str) -> None:
    shown = variants("margin")[name]["properties"]
    own = inspect.signature(MARGINS[name]).parameters
    assert set(shown) == {"name", *own}
    for key, parameter in own.items():
        assert shown[key]["description"]
        if (name, key) not in {("combined", "m2"), ("mv_softmax", "base")}:
            assert shown[key]["default"] == parameter.default


def test_the_schema_has_no_margin_that_is_not_built() -> None:
    assert set(variants("margin")) == set(MARGINS)
    assert set(variants("base")) == {"arcface", "cosface", "normalized_softmax", "combined"}
