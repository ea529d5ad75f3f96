"""A model file in YuNet's layout that OpenCV runs, written by hand: it sees one face in any 64 x 64 photo."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

SIDE = 64
STRIDE = 8
# From the cell at (2, 3): the eyes, the nose and the corners of the mouth, in pixels of the photo.
LANDMARKS = np.array([[20.0, 28.0], [36.0, 28.0], [28.0, 36.0], [22.0, 44.0], [34.0, 44.0]])
SCORE = 0.9
_FLOAT = 1
_WIDTHS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def write_yunet(path: Path) -> Path:
    """ONNX: protobuf messages, each field a number, a kind and a value."""
    nodes, outputs = [], []
    for kind, width in _WIDTHS.items():
        for stride in (8, 16, 32):
            name, cells = f"{kind}_{stride}", (SIDE // stride) ** 2
            tensor = np.zeros((1, cells, width), np.float32)
            if stride == STRIDE:
                row, column = 3, 2
                tensor[0, row * (SIDE // STRIDE) + column] = {
                    "cls": [SCORE],
                    "obj": [SCORE],
                    "bbox": [0.5, 0.5, 1.0, 1.0],
                    "kps": (LANDMARKS / STRIDE - [column, row]).ravel(),
                }[kind]
            nodes.append(_constant(name, tensor))
            outputs.append(_value(name, tensor.shape))
    graph = [
        *(_field(1, node) for node in nodes),
        _field(2, b"yunet"),
        _field(11, _value("input", (1, 3, SIDE, SIDE))),
        *(_field(12, output) for output in outputs),
    ]
    opset = _field(1, b"") + _field(2, 11)
    path.write_bytes(_field(1, 8) + _field(7, b"".join(graph)) + _field(8, opset))
    return path


def _constant(name: str, tensor: np.ndarray) -> bytes:
    sizes = b"".join(_field(1, size) for size in tensor.shape)
    content = sizes + _field(2, _FLOAT) + _field(9, tensor.tobytes())
    attribute = _field(1, b"value") + _field(5, content) + _field(20, 4)
    return _field(2, name.encode()) + _field(3, name.encode()) + _field(4, b"Constant") + _field(5, attribute)


def _value(name: str, shape: Iterable[int]) -> bytes:
    sizes = b"".join(_field(1, _field(1, size)) for size in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, sizes)))


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
