"""Shared by tests of loaders: pictures, what one process reads of them, and a fork server that is ready."""

import multiprocessing
import multiprocessing.forkserver

import pytest

from partialfc.data.loading.loader import Batch
from tests.data.loading import cases
from tests.data.loading.cases import VARIED, Pictures, build, noise, take


@pytest.fixture(scope="module")
def quick_workers() -> None:
    """Workers forked from a server that has imported the cases start at once."""
    multiprocessing.set_forkserver_preload([cases.__name__])
    multiprocessing.forkserver.ensure_running()


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures(noise(11))


@pytest.fixture(scope="module")
def reference(pictures: Pictures) -> list[Batch]:
    """Three epochs with augmentation, read in this process by one rank."""
    return take(build(pictures, augment=VARIED), 9)
