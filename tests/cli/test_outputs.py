"""Where a command's output cannot go, it is told before anything else is looked at, by one rule."""

import pytest

from tests.processes import call

FILES = {  # nothing that they would read is there
    "embed": ("--output", "embed m.onnx images -o {}/a.npy"),
    "embed-skip-bad": ("--skip-bad", "embed m.onnx images -o a.npy --skip-bad {}/bad.txt"),
    "gallery-build-skip-bad": ("--skip-bad", "gallery build g m.onnx images --skip-bad {}/bad.txt"),
    "export-onnx": ("OUT", "export run {}/a.onnx"),
    "export-safetensors": ("OUT", "export run {}/a.safetensors"),
    "export-torch": ("OUT", "export run {}/a.pt2"),
    "quality": ("--output", "quality run images --output {}/a.csv"),
    "report": ("--output", "report run --output {}/a.html"),
    "report-picture": ("--picture", "report run --picture {}/a.png"),
    "init": ("--output", "init images -o {}/a.yaml"),
    "plan": ("--plot", "plan --classes 9 --embedding 8 --batch 8 --memory 8GB --plot {}/a.png"),
    "plot-margins": ("OUTPUT", "plot margins {}/a.png"),
    "plot-angles": ("--output", "plot angles run --output {}/a.png"),
    "data-pairs": ("OUT", "data pairs images {}/a.bin"),
    "data-show": ("--output", "data show images -o {}/a.png"),
    "data-stats": ("--output", "data stats images -o {}/a.json"),
    "data-stats-page": ("--page", "data stats images --page {}/a.html"),
    "data-check": ("--output", "data check images -o {}/a.json"),
    "data-check-page": ("--page", "data check images --page {}/a.html"),
    "data-check-bad": ("--write-bad", "data check images --write-bad {}/a.txt"),
    "data-clean": ("--output", "data clean run images -o {}/a.json"),
    "data-clean-page": ("--page", "data clean run images --page {}/a.html"),
    "data-clean-wrong": ("--write-wrong", "data clean run images --write-wrong {}/a.txt"),
}
FOLDERS = {
    "evaluate": ("--save-embeddings", "evaluate run --retrieval images --save-embeddings {}/a"),
    "export-folder": ("OUT", "export run {}/a"),
    "gallery-build": ("GALLERY", "gallery build {}/a m.onnx images"),
    "data-pack": ("OUT", "data pack images {}/a"),
    "data-split": ("OUT", "data split images {}/a --classes 1"),
    "data-glyphs": ("OUT", "data glyphs {}/a"),
    "data-align": ("OUT", "data align images {}/a --landmarks landmarks.csv"),
}


def refused(folder, command, place):
    """The one line that the command ends with, which leaves nothing."""
    before = sorted(folder.rglob("*"))
    done = call(*command.format(place).split(), cwd=folder)
    assert (done.returncode, done.stdout) == (1, ""), done.stdout
    assert sorted(folder.rglob("*")) == before
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(("option", "command"), FILES.values(), ids=FILES)
def test_a_file_goes_into_a_folder_that_exists(tmp_path, option, command):
    line = refused(tmp_path, command, "nodir")
    assert f"ConfigError: {option} is 'nodir/" in line
    assert line.endswith("file in a folder that exists")


@pytest.mark.parametrize(("option", "command"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_is_not_made_below_a_file(tmp_path, option, command):
    (tmp_path / "file").write_text("mine")
    line = refused(tmp_path, command, "file")
    assert f"ConfigError: {option} is 'file/a', but " in line
    assert line.endswith("file is no folder; name one elsewhere")


TAKEN = {  # the file that would be lost, of a name that the command reads or writes twice
    "only": ("--output", "embed m.onnx images --only taken.txt -o taken.npy"),
    "list": ("--output", "embed m.onnx taken.txt -o taken.npy"),
    "keys": ("--skip-bad", "embed m.onnx images -o other.npy --skip-bad taken.txt --leave-out ./taken.txt"),
    "listing": ("--output", "embed m.onnx images -o new.npy --skip-bad new.txt"),
    "output": ("--output", "embed m.onnx images -o new.npy --skip-bad new.npy"),
    "linked": ("--skip-bad", "gallery build g taken.txt images --skip-bad link.txt"),
    "model": ("--skip-bad", "gallery add g images --model taken.txt --skip-bad taken.txt"),
    "search": ("--skip-bad", "gallery search g images other taken.txt --skip-bad taken.txt"),
    "check": ("--write-bad", "data check taken.txt --write-bad taken.txt"),
    "stats": ("--output", "data stats taken.txt -o taken.txt"),
    "clean": ("--output", "data clean run images -o a.json --write-wrong a.json"),
    "pairs": ("OUT", "data pairs taken.txt taken.txt"),
    "quality": ("--output", "quality run taken.txt --output taken.txt"),
}


@pytest.mark.parametrize(("option", "command"), TAKEN.values(), ids=TAKEN)
def test_an_output_takes_the_place_of_no_file_that_the_command_names(tmp_path, option, command):
    (tmp_path / "taken.txt").write_text("mine")
    (tmp_path / "link.txt").hardlink_to(tmp_path / "taken.txt")
    line = refused(tmp_path, command, "")
    assert f"ConfigError: {option} is '" in line
    assert line.endswith(" names too, and would be lost: name another file")
    assert (tmp_path / "taken.txt").read_text() == "mine"


# Of the files one that each function looks at.
PROTECTED = FOLDERS | {
    name: FILES[name] for name in ("embed", "report", "report-picture", "data-show", "init")
}


@pytest.mark.parametrize(("option", "command"), PROTECTED.values(), ids=PROTECTED)
def test_a_place_that_takes_no_file_is_named(tmp_path, option, command):
    line = refused(tmp_path, command, "/proc")
    assert f"ConfigError: {option} is '/proc/a" in line
    assert " takes no file: " in line
