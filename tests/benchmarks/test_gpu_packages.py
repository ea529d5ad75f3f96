"""What `make gpu-wheels` collects, `make gpu` installs: from a folder of wheels, without a network."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu_packages.py"
NEEDED = [
    *("numpy", "pyyaml", "pydantic", "typer", "tqdm", "pillow", "simplejpeg", "prometheus-client"),
    *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "liger-kernel"),
]


def write_wheel(folder: Path, name: str) -> None:
    """A package of one empty module, newer than any."""
    module, version = name.replace("-", "_"), "999.0"
    about = f"{module}-{version}.dist-info"
    files = {
        f"{module}_here.py": "",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def install(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, "install", folder / "target", "--wheels", folder / "wheels"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    (tmp_path / "wheels").mkdir()
    for name in NEEDED:
        write_wheel(tmp_path / "wheels", name)
    return tmp_path


def test_all_that_the_package_and_its_tests_need_comes_from_the_folder(wheels):
    done = install(wheels)
    assert done.returncode == 0, done.stderr
    modules = {path.stem.removesuffix("_here") for path in (wheels / "target").glob("*_here.py")}
    assert modules == {name.replace("-", "_") for name in NEEDED}  # torch and OpenCV are not asked for


def test_a_missing_wheel_is_named(wheels):
    (wheels / "wheels" / "tqdm-999.0-py3-none-any.whl").unlink()
    done = install(wheels)
    assert done.returncode == 1
    assert "tqdm" in done.stderr
