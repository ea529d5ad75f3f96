"""The images that decide the ranges of 8 bits."""

from collections import deque

import onnx
import pytest

from partialfc.data.sources.source import open_source
from partialfc.deploy.export.graph import Interface, Pixels
from partialfc.deploy.export.int8 import BATCH, calibration, quantised
from partialfc.errors import ImageError
from tests.peak_memory import peak_of
from tests.serving.cases import CARD, pictures, write_onnx, write_pictures


class Large(Pixels):
    """What takes floats of 3 MB an image."""

    interface, channels, image_size = Interface(), 3, 512


def test_memory_does_not_grow_with_the_images(tmp_path):
    write_pictures(tmp_path, pictures(6 * BATCH), classes=2)
    source = open_source([str(tmp_path)])

    def peak(count: int) -> int:
        return peak_of(lambda: deque(calibration(Large(), source, count=count), maxlen=0))

    peak(BATCH)
    few, many = peak(2 * BATCH), peak(6 * BATCH)
    assert many - few < 2 * BATCH * 3 << 20, (few, many)


class Small(Pixels):
    """What the small model of the tests takes."""

    interface, channels, image_size = Interface(), CARD.channels, CARD.image_size


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    write_pictures(tmp_path, pictures(2 * BATCH), classes=2)
    (tmp_path / "class1/017.png").write_bytes(b"no image")
    model = onnx.load(write_onnx(tmp_path / "small.onnx"))
    batches = calibration(Small(), open_source([str(tmp_path)]), count=2 * BATCH)
    with pytest.raises(ImageError, match=r"017\.png"):
        quantised(model, batches)
