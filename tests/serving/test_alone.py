"""Embeddings and galleries in an environment of its own, made by pip, which has onnxruntime and no torch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from partialfc.serving.requirements import chosen
from tests.paths import ROOT
from tests.serving.cases import pictures, rows, write_onnx, write_pictures

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(*words: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Python of a virtual environment, installed into as docs/how-to/embed.md says."""
    folder = tmp_path_factory.mktemp("alone")
    source = folder / "source"
    source.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "partialfc", source / "partialfc", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    install = (*PIP, "--python", python, "install", "--no-compile")
    try:
        run(*install, "--no-deps", source, cwd=folder)
        lines = run(python, "-m", "partialfc.serving.requirements", "serve", cwd=folder)
        assert "onnxruntime" in lines
        assert "torch>" not in lines
        (folder / "requirements.txt").write_text(lines)
        run(*install, "-r", "requirements.txt", cwd=folder)
    except AssertionError as error:
        if "No matching distribution" in str(error) or "Connection" in str(error):
            pytest.skip(f"pip reaches no packages: {str(error)[-300:]}")
        raise
    return python


@pytest.mark.slow
def test_onnxruntime_is_enough(python, tmp_path):
    assert (
        run(python, "-c", "import importlib.util as u; print(u.find_spec('torch'))", cwd=tmp_path) == "None\n"
    )
    write_onnx(tmp_path / "small.onnx")
    pixels = pictures(6)
    write_pictures(tmp_path / "images", pixels)
    run(python, "-m", "partialfc", "embed", "small.onnx", "images", "-o", "out.npy", cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), rows(pixels), atol=1e-5)
    gallery = (python, "-m", "partialfc", "gallery")
    run(*gallery, "build", "faces", "small.onnx", "images", "--index", "int8", cwd=tmp_path)
    answer = run(*gallery, "search", "faces", "images/003.png", "--threshold", "0.9", cwd=tmp_path)
    assert answer.startswith("images/003.png: 003 ")


@pytest.mark.slow
def test_an_extra_that_there_is_not_is_named(python, tmp_path):
    command = [python, "-m", "partialfc.serving.requirements", "serving"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("partialfc: ConfigError: serving is no extra of partialfc; these are: ")


def test_requirements_are_those_of_the_extras_but_torch():
    lines = [
        "torch>=2.11",
        "torchdata>=0.11",
        "numpy>=2.0",
        'tomli>=2; python_version < "3.11"',
        'onnxruntime>=1.20; extra == "serve"',
        'fastapi>=0.115; python_version < "3.13" and extra == "serve"',
        "pyarrow>=18; extra == 'parquet'",
    ]
    plain = ["torchdata>=0.11", "numpy>=2.0", 'tomli>=2; python_version < "3.11"']
    assert chosen(lines, ()) == plain
    serve = ["onnxruntime>=1.20", 'fastapi>=0.115; python_version < "3.13"']
    assert chosen(lines, ["serve"]) == [*plain, *serve]
