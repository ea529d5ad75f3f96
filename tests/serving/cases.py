"""Small networks in .onnx files, and what they give, in numpy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from partialfc.data.images.codec import Pixels, encode_png
from partialfc.serving.card import CARD_KEY, Card, CardInput

SIZE, CHANNELS, WIDTH = 12, 3, 8
CARD = Card(name="small", image_size=SIZE, channels=CHANNELS, embedding_size=WIDTH, step=7, weights="ab" * 32)


def matrix(card: Card = CARD, seed: int = 0) -> np.ndarray:
    """The network: floats [channels * size * size, D], of an image in the layout NCHW."""
    shape = (card.channels * card.image_size**2, card.embedding_size)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rows(images: Pixels, card: Card = CARD, seed: int = 0) -> np.ndarray:
    """uint8 [n, S, S, C] -> what the network gives, with norm 1, in float64."""
    x = (images.transpose(0, 3, 1, 2).astype(np.float64) / 127.5 - 1).reshape(len(images), -1)
    given = x @ matrix(card, seed)
    return given / np.linalg.norm(given, axis=1, keepdims=True)


def write_onnx(
    path: Path,
    card: Card = CARD,
    *,
    seed: int = 0,
    batch: int | str = "n",
    with_card: bool = True,
    names: Sequence[str] = ("subtract", "multiply"),
    weights: np.ndarray | None = None,
) -> Path:
    """A linear network that takes images as the card says. names: of the nodes that normalise."""
    size, channels = card.image_size, card.channels
    shape = [size, size, channels] if card.input.layout == "NHWC" else [channels, size, size]
    dtype = TensorProto.UINT8 if card.input.dtype == "uint8" else TensorProto.FLOAT
    nodes, last = [], "images"

    def add(operator: str, inputs: Sequence[str], output: str, name: str = "", **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, [*inputs], [output], name=name or output, **attributes))
        return output

    if card.input.dtype == "uint8":
        last = add("Cast", [last], "floats", to=TensorProto.FLOAT)
    if card.input.normalised:
        last = add("Sub", [last, "half"], "centred", names[0])
        last = add("Mul", [last, "scale"], "normalised", names[1])
    if card.input.layout == "NHWC":
        last = add("Transpose", [last], "planes", perm=[0, 3, 1, 2])
    last = add("Flatten", [last], "flat")
    last = add("MatMul", [last, "matrix"], "rows")
    constants = {
        "matrix": matrix(card, seed) if weights is None else weights,
        "half": np.float32(127.5),
        "scale": np.float32(1 / 127.5),
    }
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", dtype, [batch, *shape])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [batch, card.embedding_size])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if with_card:
        entry = model.metadata_props.add()
        entry.key, entry.value = CARD_KEY, card.to_json()
    onnx.save(model, str(path))
    return path


def pictures(count: int, card: Card = CARD, seed: int = 1) -> Pixels:
    shape = (count, card.image_size, card.image_size, card.channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def write_pictures(folder: Path, images: Pixels, *, classes: int = 0) -> list[str]:
    """PNG files by number, so many to a class folder, in turns; 0: flat. Their keys in the source's order."""
    keys = []
    for number, pixels in enumerate(images):
        key = f"{number:03}.png" if not classes else f"class{number % classes}/{number:03}.png"
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(encode_png(pixels))
        keys.append(key)
    return sorted(keys)


def taking(layout: str = "NCHW", dtype: str = "float32", normalised: bool = False, card: Card = CARD) -> Card:
    return replace(card, input=CardInput(layout=layout, dtype=dtype, normalised=normalised))  # type: ignore[arg-type]
