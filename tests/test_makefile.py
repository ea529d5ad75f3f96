"""What the Makefile's targets do, as far as they say so without doing it."""

import shutil
import subprocess

from tests.paths import ROOT


def test_the_suite_runs_on_the_python_and_the_torch_that_are_named(tmp_path):
    """make test, as docs/reference/versions.md calls it."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    command = [
        "make",
        "--no-print-directory",
        "--dry-run",
        "test",
        "PYTHON=python3.13",
        "TORCH=torch==2.15.0",
        "EXTRAS=dev",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    venv, install, *_, suite = done.stdout.splitlines()
    assert venv == "python3.13 -m venv .venv"
    assert install.startswith(".venv/bin/python -m pip install ")
    assert install.endswith('"torch==2.15.0" --editable ".[dev]"')
    assert suite.startswith(".venv/bin/python -m pytest ")
