"""The card of a model: read as it was written, refused where it is damaged, and what tells models apart."""

import json
from dataclasses import replace

import numpy as np
import pytest

from partialfc.errors import DataError
from partialfc.serving.card import (
    Card,
    CardInput,
    Figure,
    Licence,
    Threshold,
    read_card,
    weights_digest,
)


def threshold(**wrong: float) -> dict[str, list[dict[str, object]]]:
    """Of a card, whose own has another one."""
    return {"thresholds": [{"set": "a", "far": 0.01, "threshold": 0.5, **wrong}]}


CARD = Card(
    name="quickstart",
    version="0.1.0",
    step=600,
    backbone="convnet",
    image_size=24,
    channels=1,
    embedding_size=64,
    input=CardInput(layout="NHWC", dtype="uint8", normalised=True),
    flip="sum",
    unit=True,
    classes=120,
    margin={"name": "arcface", "scale": 64.0, "margin": 0.5},
    data="glyphs",
    licence=Licence(weights="Apache-2.0", data="OFL-1.1"),
    figures=(Figure(set="glyphs", name="accuracy", value=0.988, low=0.98, high=0.99),),
    thresholds=(
        Threshold(set="glyphs", far=1e-3, threshold=0.41, tar=0.97),
        Threshold(set="other", far=1e-4, threshold=0.52),
    ),
    weights="ab" * 32,
)


def test_a_card_is_read_as_it_was_written(tmp_path):
    CARD.write(tmp_path)
    assert read_card(tmp_path) == CARD
    assert Card.from_json(CARD.to_json(), origin="x.onnx") == CARD


def test_a_card_with_the_least_it_must_have():
    least = {"format": 1, "name": "a", "image_size": 112, "channels": 3, "embedding_size": 512}
    card = Card.from_json(json.dumps(least), origin="x.onnx")
    assert card == Card(name="a", image_size=112, channels=3, embedding_size=512)


def test_keys_of_a_later_version_are_passed_over():
    later = {**json.loads(CARD.to_json()), "new": {"key": 1}}
    assert Card.from_json(json.dumps(later), origin="x.onnx") == CARD


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"format": 2}, "card.format is 2; it must be 1", id="format"),
        pytest.param({"name": 3}, "card.name is 3; it must be of type str", id="name"),
        pytest.param({"image_size": 0}, "card.image_size is 0; it must be 1 or more", id="image-size"),
        pytest.param({"image_size": True}, "card.image_size is True", id="true-is-no-number"),
        pytest.param({"channels": 2}, "card.channels is 2; it must be 1 (grey) or 3 (RGB)", id="channels"),
        pytest.param({"flip": "both"}, "card.flip is 'both'; it must be one of none, sum, concat", id="flip"),
        pytest.param({"flip": []}, "card.flip is []; it must be one of", id="flip-list"),
        pytest.param({"input": []}, "card.input is []; it must be of type dict", id="input"),
        pytest.param({"input": {"dtype": "int8"}}, "card.input.dtype is 'int8'", id="input-dtype"),
        pytest.param({"thresholds": [{"set": "a"}]}, "card.thresholds[0].far is None", id="threshold"),
        pytest.param(threshold(far=0.0), "card.thresholds[0].far is 0.0; it must be a rate", id="no-rate"),
        pytest.param(threshold(threshold=7.5), "[0].threshold is 7.5; it must be a cosine", id="no-cosine"),
        pytest.param(threshold(threshold=float("nan")), "is nan; it must be a finite number", id="nan"),
        pytest.param(threshold(tar=float("inf")), "tar is inf; it must be a finite number", id="infinite"),
        pytest.param({"figures": [3]}, "card.figures[0] is 3; it must be a JSON object", id="figure"),
    ],
)
def test_a_damaged_card_says_where(change, says):
    with pytest.raises(DataError) as error:
        Card.from_json(json.dumps({**json.loads(CARD.to_json()), **change}), origin="x.onnx")
    assert str(error.value).startswith("x.onnx: ")
    assert says in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut-short"),
        pytest.param("[1]", id="list"),
        pytest.param("3", id="number"),
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_what_is_no_card_is_refused(text):
    with pytest.raises(DataError, match=r"x\.onnx: "):
        Card.from_json(text, origin="x.onnx")


def test_a_folder_without_a_card_is_named(tmp_path):
    with pytest.raises(DataError, match=r"partialfc\.json: cannot be read"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"weights": "cd" * 32}, id="weights"),
        pytest.param({"precision": "int8"}, id="precision"),
        pytest.param({"flip": "none"}, id="flip"),
        pytest.param({"image_size": 112}, id="image-size"),
    ],
)
def test_another_model_has_another_identity(change):
    assert replace(CARD, **change).identity != CARD.identity


def test_how_images_go_in_and_what_was_measured_change_no_identity():
    same = replace(CARD, name="other", unit=False, input=CardInput(), figures=(), thresholds=(), step=1)
    assert same.identity == CARD.identity


def test_without_weights_name_and_step_tell_models_apart():
    unknown = replace(CARD, weights="")
    assert replace(unknown, name="other").identity != unknown.identity
    assert replace(unknown, step=1).identity != unknown.identity


def test_the_threshold_at_a_false_accept_rate():
    assert CARD.threshold_at(1e-3).threshold == 0.41
    assert CARD.threshold_at(0.0001, of="other").threshold == 0.52


def test_a_threshold_that_the_card_lacks_names_those_it_has():
    with pytest.raises(DataError, match=r"no threshold .* rate 1e-06; it has those at 0\.001 \(glyphs\), "):
        CARD.threshold_at(1e-6)
    with pytest.raises(DataError, match="on 'other'"):
        CARD.threshold_at(1e-3, of="other")
    with pytest.raises(DataError, match="it has none"):
        replace(CARD, thresholds=()).threshold_at(1e-3)


def test_the_digest_of_weights_knows_no_order_but_names_types_and_numbers():
    a, b = ("a", np.arange(6.0)), ("b", np.ones((2, 3), np.float32))
    digest = weights_digest([a, b])
    assert digest == weights_digest([b, a])
    others = [
        [("c", a[1]), b],
        [("a", a[1].reshape(2, 3)), b],
        [("a", a[1].astype(np.float32)), b],
        [("a", a[1] + 1), b],
    ]
    assert digest not in {weights_digest(each) for each in others}
