"""The tests marked `gpu` pass where there is no GPU too: one that fails on a GPU does so for its reason."""

import os
import re
import subprocess
import sys

import pytest

from tests.paths import ROOT

MARKED = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.glob("tests/*/**/test_*.py")
    if "mark.gpu" in path.read_text() and path.name != "test_dali.py"  # which has nothing for other devices
)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "pretend"])
def test_they_pass_on_another_device(device):
    """Their first and last cases; what is compiled takes too long on a CPU."""
    environment = {**os.environ, "PARTIALFC_TEST_DEVICE": device, "PYTHONPATH": str(ROOT)}
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.one_of_each"]
    command += ["-m", "gpu", "-k", "not compiled" if device == "cpu" else "test", *MARKED]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20
