"""What the tests of exports share."""

from pathlib import Path

import pytest

from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from tests.train_cases import write_data


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 20 classes, `train.rec`, and pairs of them; only read."""
    folder = tmp_path_factory.mktemp("data")
    source = open_source(write_data(folder))
    write_pairs(folder / "pairs.bin", make_pairs(source, pairs=200, seed=0))
    return folder
