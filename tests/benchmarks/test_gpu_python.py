"""What `make gpu` says, before anything else, of a Python that it cannot use."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.paths import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files that `make gpu` reads first, and a Python without torch."""
    for name in ("Makefile", "pyproject.toml", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    venv.create(tmp_path / "bare", with_pip=False)
    return tmp_path


def make_gpu(folder: Path, python: Path | str) -> subprocess.CompletedProcess[str]:
    command = ["make", "gpu", f"GPU_PYTHON={python}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def has_torch(folder: Path, version: str) -> Path:
    """A Python with a package of this name and version."""
    site = next((folder / "bare" / "lib").glob("python*/site-packages"))
    (site / "torch.py").write_text(f"__version__ = '{version}'")
    return folder / "bare" / "bin" / "python"


def test_a_python_without_torch(folder):
    python = folder / "bare" / "bin" / "python"
    done = make_gpu(folder, python)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"GPU_PYTHON={python} has no torch; give the Python that has it, as in make gpu "
    )
    assert not (folder / "build").exists()


def test_a_python_that_is_not_there(folder):
    done = make_gpu(folder, "nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith("GPU_PYTHON=nonsense is not there; give the Python that has torch, as in ")


def test_a_torch_that_is_too_old(folder):
    done = make_gpu(folder, has_torch(folder, "2.10.1+cu128"))
    assert done.returncode == 2
    assert " has torch 2.10.1+cu128: 2.11 or newer is needed; give the Python" in done.stderr


def test_a_python_that_is_too_old(folder):
    """The oldest there is takes too long to get: this one with another version's number."""
    command = [
        sys.executable,
        "-c",
        "import runpy, sys; sys.version_info = (3, 9); sys.argv = ['', 'python3.9']; ",
    ]
    command[-1] += "runpy.run_path('benchmarks/gpu_python.py')"
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "GPU_PYTHON=python3.9 is Python 3.9: 3.11 or newer is needed; give the Python"
    )
