"""The packages that `make gpu` needs beside torch: collected as wheels, and installed beside a Python's own.

    python benchmarks/gpu_packages.py collect gpu-wheels --python-version 3.11
    python benchmarks/gpu_packages.py install build/gpu-packages/3.11 --wheels gpu-wheels

They go to a folder for PYTHONPATH, so that nothing of that Python changes. OpenCV is left out: its wheel is
larger than all others together, and what runs on a GPU reads JPEGs. `install` takes the wheels where their
folder has some, and else what pip finds.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
LEFT_OUT = ("torch", "opencv-python-headless")
OF_TESTS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis")
WITHOUT_DEPENDENCIES = ("liger-kernel",)  # they are torch and Triton, which comes with torch
MOST_MB = 50
GLIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def requirements() -> list[str]:
    """The package's own, but those left out, and what its tests run in."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    own = [each for each in project["dependencies"] if name_of(each) not in LEFT_OUT]
    of_tests = [each for each in project["optional-dependencies"]["dev"] if name_of(each) in OF_TESTS]
    return own + of_tests


def name_of(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return match[0]


def supported() -> list[str]:
    """The versions of Python that the package is tested on, the oldest first."""
    classifiers = tomllib.loads(PROJECT.read_text())["project"]["classifiers"]
    found = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in classifiers]
    return [match[1] for match in found if match]


def collect(folder: Path, python_version: str, machine: str) -> None:
    """Wheels for a Python of this version on Linux, in place of those in the folder; 50 MB at most.

    Those stay where pip fails.
    """
    if python_version not in supported():
        sys.exit(
            f"PYTHON_VERSION={python_version} is not one of {', '.join(supported())}: give the GPU machine's"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".collecting-", dir=folder) as beside:
        command = ["download", "--quiet", "--only-binary=:all:", "--dest", beside]
        command += ["--implementation", "cp", "--python-version", python_version]
        command += [f"--platform={glibc}_{machine}" for glibc in GLIBC]
        pip(*command, *requirements())
        pip(*command, "--no-deps", *WITHOUT_DEPENDENCIES)
        wheels = wheels_in(Path(beside))
        size = sum(wheel.stat().st_size for wheel in wheels) / 1e6
        if size >= MOST_MB:
            sys.exit(
                f"the wheels have {size:.1f} MB and must have less than {MOST_MB}; {folder} is as it was"
            )
        for wheel in wheels_in(folder):
            wheel.unlink()
        for wheel in wheels:
            wheel.rename(folder / wheel.name)
    print(f"{folder}: {len(wheels)} wheels for Python {python_version} on {machine}, {size:.1f} MB")


def wheels_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.whl"))


def install(target: Path, wheels: Path) -> None:
    """Into the folder `target`, for the Python that runs this."""
    offline = ["--no-index", "--find-links", str(wheels)] if wheels_in(wheels) else []
    command = ["install", "--quiet", "--upgrade", "--target", str(target), *offline]
    pip(*command, *requirements())
    pip(*command, "--no-deps", *WITHOUT_DEPENDENCIES)


def pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect")
    collecting.add_argument("folder", type=Path)
    collecting.add_argument("--python-version", required=True, help="such as 3.11")
    collecting.add_argument("--machine", default="x86_64", help="x86_64 or aarch64")
    installing = commands.add_parser("install")
    installing.add_argument("target", type=Path)
    installing.add_argument("--wheels", type=Path, required=True)
    options = parser.parse_args()
    try:
        if options.command == "collect":
            collect(options.folder, options.python_version, options.machine)
        else:
            install(options.target, options.wheels)
    except OSError as error:  # such as a folder that cannot be written
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
