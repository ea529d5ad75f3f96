"""Where the names of classes come from."""

import pytest

from partialfc.data.images.codec import encode_png
from partialfc.data.sources.source import open_source
from tests.train_cases import CLASSES, write_data


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        pytest.param(None, None, id="without the file"),
        pytest.param([f"n{i}" for i in range(CLASSES)], [f"n{i}" for i in range(CLASSES)], id="names"),
        pytest.param(
            [f"{i}\tU+{i:04X}\tx" for i in range(CLASSES)],
            [f"U+{i:04X}\tx" for i in range(CLASSES)],
            id="ids before them",
        ),
        pytest.param(["a", "b"], None, id="of other data"),
    ],
)
def test_a_record_file_has_those_beside_it(record, lines, names):
    listing = record.with_name("classes.txt")
    listing.unlink(missing_ok=True)
    if lines is not None:
        listing.write_text("\n".join(lines) + "\n")
    assert open_source(record).classes == names


def test_an_image_folder_has_its_folders(tmp_path):
    import numpy as np

    for name in ("bee", "ape"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(encode_png(np.zeros((8, 8, 1), np.uint8)))
    assert open_source(tmp_path).classes == ["ape", "bee"]
