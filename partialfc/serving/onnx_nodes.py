"""The names of a graph's first nodes, read from an .onnx by protobuf's layout, without the package onnx."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

GRAPH, NODE, NAME = 7, 1, 3  # numbers of fields: of a model, of its graph, of a node
VARINT, WITH_LENGTH = 0, 2  # kinds of fields
SIZES = {1: 8, 5: 4}  # bytes of the other kinds


def first_names(path: Path, count: int) -> list[str]:
    """Of as many nodes at most, in the order of the file, which onnxruntime has opened."""
    with path.open("rb") as file:
        return list(islice(_names(file, path.stat().st_size), count))


def _names(file: BinaryIO, size: int) -> Iterator[str]:
    for graph in _fields(file, size, GRAPH):
        for node in _fields(file, graph, NODE):
            yield "".join(file.read(end - file.tell()).decode() for end in _fields(file, node, NAME))


def _fields(file: BinaryIO, stop: int, wanted: int) -> Iterator[int]:
    """The ends of the fields of a number, up to `stop`; the file stands at the beginning of each."""
    while file.tell() < stop:
        number, kind = divmod(_varint(file), 8)
        if kind == VARINT:
            _varint(file)
            continue
        length = _varint(file) if kind == WITH_LENGTH else SIZES[kind]
        end = file.tell() + length
        if number == wanted:
            yield end
        file.seek(end)


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        (byte,) = file.read(1)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
