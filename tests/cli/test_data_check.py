"""`partialfc data check`: its exit status, its files, and what ends it."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from partialfc.data.images.codec import encode_png
from tests.data.check.cases import BAD, SOUND, WRONG, wrong_folder
from tests.data.sources.cases import put
from tests.processes import call, descendants, is_alive, start
from tests.waiting import wait_for


def test_what_is_found_is_told_written_and_left_out_of_a_training(tmp_path: Path) -> None:
    folder = wrong_folder(tmp_path / "images")
    bad, page, report = tmp_path / "bad.txt", tmp_path / "page.html", tmp_path / "report.json"
    found = call("data", "check", folder, "--write-bad", bad, "--page", page, "-o", report)
    assert found.returncode == 3, found.stderr
    assert found.stdout.startswith(f"{folder}: 17 images of 2 classes")
    assert {line.partition("\t")[0] for line in bad.read_text().splitlines()} == BAD
    assert all(key in page.read_text() for key in WRONG)
    told = json.loads(report.read_text())
    assert told["found"]["broken"] == 2

    printed = call("data", "check", folder, "--json", "--skip", "broken", "--workers", "1")
    assert printed.returncode == 3
    again = json.loads(printed.stdout)
    assert "broken" not in again["found"]
    assert again["findings"]["conflict"] == told["findings"]["conflict"]

    rest = call(
        "data", "check", folder, "--leave-out", bad, "--skip", "near-duplicate", "--skip", "near-conflict"
    )
    assert rest.returncode == 0, rest.stdout + rest.stderr
    assert f"{len(SOUND) + len(WRONG) - len(BAD)} images of 2 classes" in rest.stdout
    packed = call("data", "pack", folder, tmp_path / "packed", "--leave-out", bad)
    assert packed.returncode == 0, packed.stderr


def test_nothing_found_is_status_0_and_an_empty_list(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", "cat/1.png", "dog/1.png")
    found = call("data", "check", folder, "--skip", "blank", "--write-bad", tmp_path / "bad.txt")
    assert found.returncode == 0, found.stdout + found.stderr
    assert (tmp_path / "bad.txt").read_text() == ""
    packed = call("data", "pack", folder, tmp_path / "out", "--leave-out", tmp_path / "bad.txt")
    assert packed.stdout.endswith("2 images of 2 classes\n"), packed.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--page", "page.txt"], "--page is 'page.txt'; it must be a .html file in a folder"),
        (
            ["--write-bad", "nowhere/bad.txt"],
            "--write-bad is 'nowhere/bad.txt'; it must be a file in a folder",
        ),
        (["-o", "."], "--output is '.'; it must be a file in a folder"),
        (["--size", "112,112"], "--size is '112,112'; it must be HEIGHTxWIDTH"),
        (["--size", "0"], "--size is '0'; it must be HEIGHTxWIDTH"),
    ],
    ids=["page", "bad", "report", "size", "no size"],
)
def test_a_wrong_option_is_told_before_any_work(tmp_path: Path, words: list[str], says: str) -> None:
    refused = call("data", "check", tmp_path / "gone", *words, cwd=tmp_path)
    assert refused.returncode == 1
    assert f"partialfc: ConfigError: {says}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_is_no_source_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.rec").write_bytes(b"nothing of the kind")
    for name, says in (
        ("gone", "does not exist"),
        ("empty", "has no class folder"),
        ("broken.rec", "record 0 at byte 0"),
    ):
        refused = call("data", "check", tmp_path / name)
        assert refused.returncode == 1
        assert says in refused.stderr.splitlines()[-1]
        assert "Traceback" not in refused.stderr


def test_a_place_that_takes_no_file_is_told_before_any_work(tmp_path: Path) -> None:
    for option, name in (("--page", "x.html"), ("--output", "x.json"), ("--write-bad", "x.txt")):
        refused = call("data", "check", tmp_path / "gone", option, f"/proc/{name}")
        assert refused.returncode == 1
        line = refused.stderr.splitlines()[-1]
        assert f"ConfigError: {option} is '/proc/{name}', but its folder takes no file: " in line
        assert "Traceback" not in refused.stderr


def test_ctrl_c_ends_all_its_processes_without_a_traceback(tmp_path: Path) -> None:
    first = tmp_path / "in/cat/0.png"
    first.parent.mkdir(parents=True)
    first.write_bytes(encode_png(np.zeros((3000, 3000, 3), np.uint8)))
    for number in range(1, 600):
        os.link(first, first.with_name(f"{number}.png"))
    page, log = tmp_path / "page.html", tmp_path / "log"
    process = start("data", "check", tmp_path / "in", "--workers", 2, "--page", page, stderr=subprocess.PIPE)
    wait_for(lambda: len(descendants(process.pid)) >= 4, log=log)  # the workers' server, and what it keeps
    started = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors
    wait_for(lambda: not any(map(is_alive, started)), log=log)
    assert not page.exists()
