"""Reports of runs that a stranger made: a report, or one error, and nothing else."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partialfc.cli import app as cli

TRAIN = {"event": "train", "step": 1, "loss": 2.0, "seconds": 0.5, "target_angle_histogram": [0, 1]}
VERIFIED = {
    "event": "verification",
    "step": 1,
    "set": "lfw",
    "accuracy": 0.9,
    "eer": 0.1,
    "tar@far=1e-3": None,
}
SCORES = {"scores": np.linspace(0, 1, 40), "same": np.array([True, False] * 20), "step": 1}
Report = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "verification").mkdir()
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


@pytest.fixture
def report(run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Report:
    """`report(*lines) -> (exit status, stdout, stderr)`: lines of metrics.jsonl, records or text."""

    def call(*lines: dict[str, Any] | str) -> tuple[int, str, str]:
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        (run_dir / "metrics.jsonl").write_text("".join(f"{text}\n" for text in texts))
        monkeypatch.setattr(sys, "argv", ["partialfc", "report", str(run_dir)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "{", "[1]", '{"event": "train", "step": [1]}', "\\udcff", ""]
)
def test_lines_that_are_no_records_are_left_out(report: Report, line: str) -> None:
    code, out, err = report(TRAIN, line, VERIFIED, {"event": "train", "step": True})
    assert (code, err) == (0, "")
    assert "90.00%" in out


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("\x01\x02", "no line of it is a record of a run: it is damaged, or another file"),
        (VERIFIED, "has no train record yet"),
    ],
    ids=["damaged", "not trained yet"],
)
def test_a_log_without_a_record_of_training_says_why(report: Report, line: Any, why: str) -> None:
    code, out, err = report(line)
    assert (code, out) == (1, "")
    assert why in err


@pytest.mark.parametrize(
    "record",
    [
        TRAIN | {"loss": "x"},
        TRAIN | {"seconds": None},
        TRAIN | {"target_angle_histogram": "abc"},
        TRAIN | {"target_angle_histogram": [[1], None]},
        VERIFIED | {"set": {"a": 1}},
        VERIFIED | {"accuracy": "x"},
        VERIFIED | {"eer": []},
        VERIFIED | {"tar@far=1e-3": "x"},
    ],
)
def test_a_record_of_other_types_is_one_error(report: Report, record: dict[str, Any]) -> None:
    code, out, err = report(TRAIN, record)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "DataError" in err
    assert "delete its line" in err


def test_numbers_too_large_to_be_numbers_are_drawn_or_left_out(report: Report) -> None:
    huge = int("9" * 400)
    assert (
        report(TRAIN, TRAIN | {"step": huge}, TRAIN | {"loss": huge}, VERIFIED | {"accuracy": huge})[0] == 0
    )


def test_names_of_a_run_do_not_steer_the_terminal(report: Report, run_dir: Path) -> None:
    (run_dir / "checkpoints" / "latest").write_bytes(b"\x1b[2J\xff\x07\n")
    code, out, _ = report(TRAIN, VERIFIED | {"set": "\x1b]0;mine\x07", "tar@\x1b": 0.5})
    assert code == 0
    assert out.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", [r"$\frac$", "$$", r"a$\undefined{b}$c", "_^{", "\x1b[2J"])
def test_names_of_a_run_are_no_mathematics(report: Report, run_dir: Path, name: str) -> None:
    np.savez(run_dir / "verification" / f"{name}.latest.npz", **SCORES)
    assert report(TRAIN)[0] == 0


@pytest.mark.parametrize(
    "arrays",
    [
        SCORES | {"scores": np.array([{}], object)},
        SCORES | {"scores": np.zeros((3, 2))},
        SCORES | {"scores": np.full(40, np.nan)},
        SCORES | {"step": "x"},
        {"step": 1},
        b"\x80\x04cthis\ns\n.",
        b"PK\x03\x04" + b"x" * 50,
        b"",
    ],
    ids=["objects", "shape", "nan", "step", "missing", "pickle", "zip", "empty"],
)
def test_scores_that_are_none_are_left_out(report: Report, run_dir: Path, arrays: Any) -> None:
    path = run_dir / "verification" / "lfw.latest.npz"
    path.write_bytes(arrays) if isinstance(arrays, bytes) else np.savez(path, **arrays)
    code, _, err = report(TRAIN)
    assert (code, err) == (0, "")
    assert "lfw.latest.npz: is damaged" in (run_dir / "report.html").read_text()
    assert "this" not in sys.modules
