"""The extras dali-cuda12 and dali-cuda13: the one that suits torch is named, and each has its package."""

import tomllib

import pytest

from partialfc.data.loading import dali_package
from tests.paths import ROOT


@pytest.mark.parametrize(
    ("cuda", "extra"),
    [
        ("12.0", "dali-cuda12"),
        ("12.9", "dali-cuda12"),
        ("13.0", "dali-cuda13"),
        ("13.2", "dali-cuda13"),
        ("14.0", "dali-cuda13"),  # the newest there is
        ("11.8", "dali-cuda12"),
        (None, "dali-cuda12"),
    ],
)
def test_the_extra_is_that_of_torchs_cuda(cuda, extra):
    assert dali_package.extra(cuda) == extra


def test_each_extra_installs_the_package_of_its_cuda():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for major, package in dali_package.PACKAGES.items():
        (requirement,) = extras[f"dali-cuda{major}"]
        assert requirement.split(">=")[0] == package
        assert package.endswith(f"cuda{major}0")
    assert extras["dali"] == ["partialfc[dali-cuda12]"]
