"""A folder with a small data set and the config of a run on it."""

import pytest

from tests.train_cases import saved_config


@pytest.fixture
def folder(tmp_path):
    saved_config(tmp_path)
    return tmp_path
