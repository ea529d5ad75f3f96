"""What is installed."""

import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from partialfc.doctor import Level
from partialfc.doctor.software import TESTED, check_trackers, judge_dali, judge_versions
from tests.paths import ROOT
from tests.processes import ENVIRONMENT


def test_ranks_with_other_versions_are_red():
    check = judge_versions({0: {"torch": "2.13.0"}, 2: {"torch": "2.12.1"}})  # rank 1 is silent
    assert check.level == Level.RED
    assert "2.12.1 on rank 2" in check.says
    assert judge_versions({0: {"torch": "2.13.0"}, 1: {"torch": "2.13.0"}}).level == Level.GREEN
    assert "missing on rank 1" in judge_versions({0: {"dali": "2.4"}, 1: {}}).says


@pytest.mark.parametrize(
    ("name", "version", "level"),
    [
        ("torch", "2.10.1", Level.YELLOW),
        ("torch", "2.11.0a0+nv26.02", Level.GREEN),
        ("torch", "2.15.0+cu132", Level.GREEN),
        ("torch", "2.16.0", Level.YELLOW),
        ("torch", "3.0.0", Level.YELLOW),
        ("python", "3.13.9", Level.GREEN),
        ("python", "3.14.0", Level.YELLOW),
        ("python", "none", Level.GREEN),
    ],
)
def test_a_version_that_was_not_tested_is_yellow(name, version, level):
    rank = {"python": "3.11.7", "torch": "2.13.0", "partialfc": "0.1.0"} | {name: version}
    check = judge_versions({0: rank, 1: rank})
    assert check.level == level
    assert f"{name} {version}" in check.says
    assert (TESTED[name] in check.says) == (level == Level.YELLOW)


def test_what_is_tested_is_what_the_package_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {each.name: each.specifier for each in map(Requirement, project["dependencies"])}["torch"]
    oldest, newest = TESTED["torch"].split(" to ")
    for version in (f"{oldest}.0a0+e1b2c3.nv26.02", f"{oldest}.0", f"{newest}.0+cu132"):
        assert wanted.contains(version, prereleases=True), version
    assert not wanted.contains(f"{oldest}.dev1", prereleases=True)
    assert f"torch {TESTED['torch']}" in (ROOT / "docs/reference/versions.md").read_text()
    first, last = (int(each.removeprefix("3.")) for each in TESTED["python"].split(" to "))
    pythons = [f"Programming Language :: Python :: 3.{minor}" for minor in range(first, last + 1)]
    assert [each for each in project["classifiers"] if ":: Python ::" in each] == pythons
    assert project["requires-python"] == f">=3.{first}"


@pytest.mark.slow
def test_no_compiler_is_yellow(tmp_path):
    environment = {**ENVIRONMENT, "CXX": "/no/such/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "partialfc", "doctor"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    assert "yellow  compile" in result.stdout
    assert "install a C++ compiler" in result.stdout


TWELVE, THIRTEEN = "nvidia-dali-cuda120", "nvidia-dali-cuda130"


def test_dali_for_another_cuda_is_yellow():
    (check,) = judge_dali([TWELVE], "13.0")
    assert check.level == Level.YELLOW
    assert check.says == f"{TWELVE} is installed, but torch is built for CUDA 13.0"
    assert check.remedy == f"pip uninstall {TWELVE}, then pip install 'partialfc[dali-cuda13]'"
    (check,) = judge_dali([THIRTEEN], "12.9")
    assert "partialfc[dali-cuda12]" in check.remedy
    for installed, cuda in (([TWELVE], "12.9"), ([THIRTEEN], "13.2")):
        assert [check.level for check in judge_dali(installed, cuda)] == [Level.GREEN]
    for installed, cuda in (([], "13.0"), ([TWELVE], None), ([THIRTEEN], None)):
        assert judge_dali(installed, cuda) == []


def test_dali_that_is_installed_twice_is_yellow():
    for cuda in ("12.9", "13.0", None):
        (check,) = judge_dali([TWELVE, THIRTEEN], cuda)
        assert check.level == Level.YELLOW
        assert "overwrite each other's files" in check.says
        assert f"pip uninstall {TWELVE} {THIRTEEN}, then" in check.remedy


def test_trackers_that_can_be_used_are_green():
    check = check_trackers(["tensorboard"])
    assert check.level == Level.GREEN
    assert check.says.startswith("tensorboard: ")
