"""The training set and the pairs of these tests' runs."""

import pytest

from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.source import open_source
from tests import train_cases


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    train_cases.write_data(folder)
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=200, seed=0))
    return folder


@pytest.fixture
def folder(data, tmp_path):
    for name in ("train.rec", "train.idx", "property", "pairs.bin"):
        (tmp_path / name).symlink_to(data / name)
    return tmp_path
