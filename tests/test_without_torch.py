"""What works where there is no torch, in processes in which `import torch` fails."""

import subprocess
import sys

import pytest

from tests.paths import PACKAGE
from tests.processes import ENVIRONMENT

ROOMS = ("serving", "data/sources", "data/images", "data/parallel", "data/benchmarks")
OF_TORCH = {"partialfc.data.images.normalise"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)


def modules() -> list[str]:
    paths = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if name not in OF_TORCH]


def test_these_rooms_are_imported_without_it():
    program = f"""if True:
        import importlib, sys
        sys.modules["torch"] = None
        for name in {modules()}:
            importlib.import_module(name)
    """
    done = run("-c", program)
    assert done.returncode == 0, done.stderr


def test_a_name_that_needs_it_says_so_and_others_are_there():
    program = """if True:
        import sys
        sys.modules["torch"] = None
        import partialfc
        assert issubclass(partialfc.ImageError, partialfc.DataError)
        try:
            partialfc.ArcFace
        except partialfc.MissingExtraError as error:
            print(error)
    """
    done = run("-c", program)
    assert (done.stderr, done.stdout) == ("", "partialfc.ArcFace needs PyTorch: pip install torch\n")


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_command_tells_of_itself(option):
    done = run("-m", "tests.without", "torch", option)
    assert (done.returncode, done.stderr) == (0, "")
    assert "partialfc" in done.stdout


def test_a_command_that_needs_it_says_so_in_one_line():
    done = run("-m", "tests.without", "torch", "train", "configs/quickstart.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "partialfc: MissingExtraError: this command needs PyTorch: pip install torch\n"


@pytest.mark.parametrize("option", [("--version",), ("--help",), ("train", "--help")], ids=" ".join)
def test_telling_of_itself_imports_none(option):
    program = f"""if True:
        import sys
        sys.argv = ["partialfc", *{option!r}]
        from partialfc.cli.app import _status
        assert _status() in (0, None)
        assert "torch" not in sys.modules
    """
    done = run("-c", program)
    assert done.returncode == 0, done.stderr


def test_a_run_is_said_to_need_it(tmp_path):
    program = """if True:
        import sys
        sys.modules["torch"] = None
        from partialfc.errors import MissingExtraError
        from partialfc.serving.model import open_model
        try:
            open_model("runs/faces")
        except MissingExtraError as error:
            print(error)
    """
    done = run("-c", program)
    assert done.stderr == ""
    assert done.stdout.startswith("runs/faces is opened by torch, which cannot be imported")
    assert "take the .onnx" in done.stdout
