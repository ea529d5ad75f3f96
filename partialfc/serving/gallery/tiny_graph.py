"""The one graph that onnxruntime multiplies whole numbers by, written down without the onnx package."""

UINT8, INT8, INT32 = 2, 3, 6  # of onnx.TensorProto.DataType
OPSET, IR_VERSION = 13, 7


def product_graph() -> bytes:
    """An ONNX model: rows uint8 [n, d], queries int8 [d, q] -> products int32 [n, q], by MatMulInteger."""
    node = _text(1, "rows") + _text(1, "queries") + _text(2, "products") + _text(4, "MatMulInteger")
    graph = (
        _block(1, node)
        + _text(2, "product")
        + _block(11, _value("rows", UINT8, "n", "d"))
        + _block(11, _value("queries", INT8, "d", "q"))
        + _block(12, _value("products", INT32, "n", "q"))
    )
    return _number(1, IR_VERSION) + _block(7, graph) + _block(8, _text(1, "") + _number(2, OPSET))


def _value(name: str, kind: int, *sizes: str) -> bytes:
    """A ValueInfoProto."""
    shape = b"".join(_block(1, _text(2, size)) for size in sizes)
    return _text(1, name) + _block(2, _block(1, _number(1, kind) + _block(2, shape)))


def _number(field: int, value: int) -> bytes:
    assert value < 128, "one byte of protobuf holds no more"
    return bytes([field << 3, value])


def _block(field: int, content: bytes) -> bytes:
    """Bytes with their length in front, as protobuf has texts and messages."""
    length, size = len(content), []
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([field << 3 | 2, *size, length]) + content


def _text(field: int, text: str) -> bytes:
    return _block(field, text.encode())
