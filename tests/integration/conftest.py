"""A store of images for all tests that build one, in which the base image is made once."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.image_build import Buildah


@pytest.fixture(scope="session")
def buildah() -> Iterator[Buildah]:
    folder = Path(tempfile.mkdtemp(prefix="partialfc-image-"))
    folder.chmod(0o755)  # the container's user reaches its volumes through it
    yield Buildah(folder)
    shutil.rmtree(folder)
