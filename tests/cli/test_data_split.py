"""`partialfc data split`: two lists of keys that together are the source, and that other commands take."""

from pathlib import Path

import pytest

from tests.data.sources.cases import put
from tests.processes import call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path / "in", *(f"{name}/{n}.png" for name in "abcde" for n in range(4)))


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--classes", "2"), ("12 images of 3 classes", "8 images of 2 classes")),
        (("--classes", "20%"), ("16 images of 4 classes", "4 images of 1 classes")),
        (("--images", "1"), ("15 images of 5 classes", "5 images of 5 classes")),
        (("--images", "50%"), ("10 images of 5 classes", "10 images of 5 classes")),
    ],
    ids=lambda value: "".join(value).strip("-") if value[0].startswith("-") else "",
)
def test_the_parts_are_the_source_and_commands_take_them(
    folder: Path, tmp_path: Path, option: tuple[str, str], told: tuple[str, str]
) -> None:
    out = tmp_path / "deep/split"
    done = call("data", "split", folder, out, *option)
    assert done.returncode == 0, done.stderr
    train, held = out / "train.txt", out / "held-out.txt"
    assert done.stdout == f"{train}: {told[0]}\n{held}: {told[1]}\n"
    keys = [*train.read_text().splitlines(), *held.read_text().splitlines()]
    assert sorted(keys) == sorted(f"{name}/{n}.png" for name in "abcde" for n in range(4))
    packed = call("data", "pack", folder, tmp_path / "packed", "--only", train)
    assert told[0] in packed.stdout, packed.stderr


def test_a_split_is_replaced_only_if_asked_for(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "split"
    assert call("data", "split", folder, out, "--classes", "1").returncode == 0
    before = (out / "held-out.txt").read_text()
    refused = call("data", "split", folder, out, "--classes", "3")
    assert refused.returncode == 1
    assert "train.txt: exists already; name another folder, or replace it with --overwrite" in refused.stderr
    assert (out / "held-out.txt").read_text() == before
    assert call("data", "split", folder, out, "--classes", "3", "--overwrite").returncode == 0
    assert len((out / "held-out.txt").read_text().splitlines()) == 12


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "ConfigError: give one of --classes and --images"),
        (["--classes", "1", "--images", "1"], "ConfigError: give one of --classes and --images"),
        (
            ["--classes", "0"],
            "ConfigError: --classes is '0'; it must be a whole number from 1 on, or a share",
        ),
        (["--images", "100%"], "ConfigError: --images is '100%'; it must be"),
        (["--images", "0.1"], "ConfigError: --images is '0.1'; it must be"),
        (["--classes", "5"], "DataError: 5 of 5 classes cannot be held out"),
    ],
    ids=["neither", "both", "none", "all", "no number", "too many"],
)
def test_a_split_that_cannot_be_is_told_in_a_line(
    folder: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    refused = call("data", "split", folder, tmp_path / "split", *words)
    assert refused.returncode == 1
    assert f"partialfc: {says}" in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "split").exists()
