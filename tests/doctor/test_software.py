"""What is installed."""

import subprocess
import sys

import pytest

from partialfc.doctor import Level
from partialfc.doctor.software import judge_dali, judge_versions
from tests.processes import ENVIRONMENT


def test_ranks_with_other_versions_are_red():
    check = judge_versions({0: {"torch": "2.13.0"}, 2: {"torch": "2.12.1"}})  # rank 1 is silent
    assert check.level == Level.RED
    assert "2.12.1 on rank 2" in check.says
    assert judge_versions({0: {"torch": "2.13.0"}, 1: {"torch": "2.13.0"}}).level == Level.GREEN
    assert "missing on rank 1" in judge_versions({0: {"dali": "2.4"}, 1: {}}).says


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
