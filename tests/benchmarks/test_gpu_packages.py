"""What `make gpu-wheels` collects, `make gpu` installs: from a folder of wheels, without a network."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT

SCRIPT = ROOT / "benchmarks" / "gpu_packages.py"
NEEDED = [
    *("numpy", "pyyaml", "pydantic", "typer", "tqdm", "pillow", "simplejpeg", "prometheus-client"),
    "fsspec",
    *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "liger-kernel"),
]


def write_wheel(folder: Path, name: str) -> None:
    """A package of one empty module, newer than any."""
    module, version = name.replace("-", "_"), "9999.0"
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
    (wheels / "wheels" / "tqdm-9999.0-py3-none-any.whl").unlink()
    done = install(wheels)
    assert done.returncode == 1
    assert "tqdm" in done.stderr


def collect(folder: Path, version: str, *, index: Path) -> subprocess.CompletedProcess[str]:
    """From the wheels of the folder `index`."""
    command = [sys.executable, SCRIPT, "collect", folder / "kept", "--python-version", version]
    variables = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def test_collected_wheels_take_the_place_of_the_old_and_stay_where_pip_fails(wheels):
    (wheels / "kept").mkdir()
    write_wheel(wheels / "kept", "old")
    missing = wheels / "wheels" / "tqdm-9999.0-py3-none-any.whl"
    away = missing.rename(wheels / missing.name)
    failed = collect(wheels, "3.12", index=wheels / "wheels")
    assert failed.returncode == 1
    assert [path.name for path in (wheels / "kept").iterdir()] == ["old-9999.0-py3-none-any.whl"]
    away.rename(missing)
    done = collect(wheels, "3.12", index=wheels / "wheels")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (wheels / "wheels").iterdir()}
    assert {path.name for path in (wheels / "kept").iterdir()} == names


def test_a_folder_without_wheels_counts_as_none(wheels, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str((wheels / "wheels").rename(wheels / "elsewhere")))
    (wheels / "wheels").mkdir()
    monkeypatch.setenv("PIP_INDEX_URL", (wheels / "no-index").as_uri())
    done = install(wheels)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", ["3.9", "2.7", "3", "3.99", "3.12.1", "abc", ""])
def test_a_python_version_that_the_package_does_not_support_is_refused_at_once(tmp_path, version):
    done = collect(tmp_path, version, index=tmp_path)
    assert done.returncode == 1
    rule = "is not one of 3.11, 3.12, 3.13: give the GPU machine's"
    assert done.stderr == f"PYTHON_VERSION={version} {rule}\n"
    assert not (tmp_path / "kept").exists()
