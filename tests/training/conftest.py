"""The training set of these tests."""

import pytest

from tests import train_cases


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    train_cases.write_data(folder)
    return folder


@pytest.fixture
def folder(data, tmp_path):
    for name in ("train.rec", "train.idx", "property"):
        (tmp_path / name).symlink_to(data / name)
    return tmp_path
