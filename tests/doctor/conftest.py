"""The training set that the doctor examines, and a rank that others are missing from."""

import pytest

from tests import train_cases
from tests.processes import free_port, place


@pytest.fixture
def folder(tmp_path):
    train_cases.write_data(tmp_path)
    return tmp_path


@pytest.fixture
def alone_as_rank_0(monkeypatch):
    """This process is rank 0 of 2, without torchrun; the port that it will listen on."""
    port = free_port()
    for name, value in place(0, port).items():
        monkeypatch.setenv(name, value)
    return port
