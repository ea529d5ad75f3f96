"""onnxruntime is imported in one place, which keeps it from telling its makers what it is used for."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.serving.cases import pictures, write_onnx, write_pictures

VARIABLE = "ORT_DISABLE_TELEMETRY"
PACKAGE = ROOT / "partialfc"


def imported(tree: ast.AST) -> set[str]:
    """The packages that a file imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_no_other_file_imports_it():
    files = [file for file in PACKAGE.rglob("*.py") if "onnxruntime" in imported(ast.parse(file.read_text()))]
    assert files == []
    assert imported(ast.parse("import onnxruntime.tools\nfrom json import load")) == {"onnxruntime", "json"}


def run(program: str, *arguments: object, home: Path, **variables: str) -> str:
    """A new interpreter's output; with a home of its own, and nothing that says it is a test."""
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home)} | variables
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "use",
    [
        "import sys; from partialfc.cli.app import app; app(['embed', *sys.argv[1:3], '-o', sys.argv[3]], "
        "standalone_mode=False)",
        "from partialfc.serving.gallery.products import _int8_session; assert _int8_session(1)",
    ],
    ids=["embed", "gallery"],
)
def test_it_leaves_no_identifier_and_no_events_in_the_home(tmp_path, use):
    """Its builds since 1.29 keep both there, from its import on, to send them."""
    model = write_onnx(tmp_path / "small.onnx")
    write_pictures(tmp_path / "images", pictures(3))
    program = f"{use}\nimport os, sys; print('onnxruntime' in sys.modules, os.environ['{VARIABLE}'])"
    said = run(program, model, tmp_path / "images", tmp_path / "out.npy", home=tmp_path / "home")
    assert said.splitlines()[-1] == "True 1"
    assert (
        list((tmp_path / "home").rglob("onnxruntime*")) == list((tmp_path / "home").rglob("deviceid")) == []
    )


def test_what_the_environment_says_of_it_stays(tmp_path):
    use = "import os; from partialfc.serving.runtime import onnxruntime; onnxruntime()"
    program = f"{use}; print(os.environ['{VARIABLE}'])"
    assert run(program, home=tmp_path / "home", **{VARIABLE: "true"}) == "true\n"
