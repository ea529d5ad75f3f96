"""The commands of `partialfc plot`: their pictures and what they print, and one line for each mistake."""

import json

import pytest

from partialfc.metrics.run_log import METRICS
from tests.processes import call

PNG = b"\x89PNG"


def test_margins_writes_a_picture(tmp_path):
    done = call("plot", "margins", tmp_path / "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'a.png'}\n"
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_embeddings_prints_the_figures_of_each_loss(tmp_path, dimensions):
    options = ("--dimensions", dimensions, "--images", 16, "--epochs", 1)
    done = call("plot", "embeddings", tmp_path / "a.png", *options)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert [line[:38].strip() for line in lines] == [
        "softmax",
        "modified softmax = SphereFace, m = 1",
        "SphereFace, m = 2",
        "SphereFace, m = 4",
        "normalized softmax",
        "CosFace, m = 0.2",
        "ArcFace, m = 0.5",
    ]
    assert last == str(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


MISTAKES = {
    "margins as JPEG": (
        ("margins", "a.jpg"),
        "OUTPUT is 'a.jpg'; it must be a .png file in a folder that exists",
    ),
    "embeddings nowhere": (("embeddings", "no/a.png"), "OUTPUT is 'no/a.png'; it must be a .png file"),
    "angles as JPEG": (("angles", "run", "--output", "a.jpg"), "--output is 'a.jpg'; it must be a .png file"),
    "angles of no folder": (("angles", "no"), "no is not a run: it has no metrics.jsonl"),
    "angles of an old run": (("angles", "old"), "old/metrics.jsonl has no angles. A run"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(tmp_path, mistake):
    words, says = MISTAKES[mistake]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / METRICS).write_text(json.dumps({"event": "train", "step": 1}) + "\n")
    done = call("plot", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert says in line
