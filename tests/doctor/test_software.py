"""What is installed."""

import subprocess
import sys

import pytest

from partialfc.doctor import Level
from partialfc.doctor.software import judge_versions
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
