"""`partialfc report` on real runs: what it computes from checkpoint and data, and what it leaves out."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from partialfc.cli.run_report.looks import look
from partialfc.cli.run_report.opened import Opened, open_run
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import read_pairs, write_pairs
from partialfc.data.sources.source import open_source
from partialfc.deploy.trained import load_trained
from partialfc.evaluation.embed import embed
from partialfc.report.run_page.log import read_log
from partialfc.report.run_page.looks import Looks
from tests.browser import chromium
from tests.processes import call
from tests.train_cases import SIZE, saved_config

SETS = "verification.sets={seen: %s}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, pairs, and a finished run on them, `run`."""
    folder = tmp_path_factory.mktemp("finished")
    saved_config(folder)
    write_pairs(folder / "pairs.bin", make_pairs(open_source(folder / "train.rec"), pairs=200, seed=0))
    config = saved_config(
        folder,
        "train.steps=6",
        "schedule.warmup_steps=1",
        "backbone.name=convnet",
        SETS % (folder / "pairs.bin"),
        "verification.at_start=true",
    )
    done = call("train", config)
    assert done.returncode == 0, done.stderr
    return folder


def silent(stage: str, done: int, total: int) -> None:
    """Shows nothing."""


def opened(run: Path, *, runs: int = 1) -> Opened:
    return open_run(run, read_log(run), runs=runs, progress=silent, images=True, max_pixels=10**6)


def looked(found: Opened, *, most: int = 60, images: bool = True) -> Looks:
    return look(
        found,
        most=most,
        method="pca",
        images=images,
        device="cpu",
        trust=(),
        max_pixels=10**6,
        progress=silent,
    )


def test_the_hardest_pairs_are_those_of_the_scores(finished):
    (found,) = opened(finished / "run").hardest
    with np.load(finished / "run" / "verification" / "seen.latest.npz") as saved:
        scores, same = saved["scores"], saved["same"]
    accepts = [(each.score, each.index) for each in found.false_accepts]
    rejects = [(each.score, each.index) for each in found.false_rejects]
    assert (
        accepts
        == sorted(((s, i) for i, s in enumerate(scores) if not same[i]), key=lambda x: (-x[0], x[1]))[:12]
    )
    assert rejects == sorted((s, i) for i, s in enumerate(scores) if same[i])[:12]
    assert found.accepted == (scores[~same] >= found.threshold).sum()
    assert found.rejected == (scores[same] < found.threshold).sum()
    assert all(each.first.shape[:2] == (SIZE, SIZE) for each in found.false_accepts)
    (of_many,) = opened(finished / "run", runs=10).hardest
    assert [each.index for each in of_many.false_accepts] == [each.index for each in found.false_accepts[:4]]


def test_class_accuracy_is_that_of_the_nearest_centres(finished):
    (found,) = looked(opened(finished / "run"), most=1000).classes
    trained = load_trained(finished / "run")
    source = open_source(finished / "train.rec")
    images, labels = zip(*(source.read(index) for index in range(len(source))), strict=True)
    with_amp = trained.backbone.eval()
    rows = embed(with_amp, images, image_size=SIZE, channels=1, device=next(with_amp.parameters()).device)
    right = trained.top_k(rows, 1)[1][:, 0].numpy() == np.array(labels)
    assert (found.least, found.most, found.classes, found.images) == (6, 6, 20, 120)
    assert found.accuracy == pytest.approx(right.mean(), abs=0.05)  # the run embeds in bfloat16
    assert found.interval.low <= found.accuracy <= found.interval.high


def test_the_map_shows_distinct_images_with_their_identities(finished):
    found = opened(finished / "run")
    (drawn,) = looked(found, most=40).maps
    pairs = read_pairs(finished / "pairs.bin")
    assert len(drawn.places) == len(drawn.names) == len(drawn.thumbnails) == 40
    assert np.isfinite(drawn.places).all()
    assert drawn.places.mean(0) == pytest.approx([0, 0], abs=1e-6)
    images = set()
    for name, identity in zip(drawn.names, drawn.identities.tolist(), strict=True):
        told, side, pair = map(
            int, re.fullmatch(r"identity (\d+), image ([12]) of pair (\d+)", name).groups()
        )
        assert told == identity == pairs.identities[pair, side - 1]
        images.add(pairs.images[2 * pair + side - 1])
    assert len(images) == 40


def test_a_page_for_others_has_no_image(finished, tmp_path):
    for words, has in (((), True), (("--no-images",), False)):
        page = tmp_path / f"{has}.html"
        done = call("report", finished / "run", "--embed", "20", "--output", page, *words)
        assert done.returncode == 0, done.stderr
        assert f"page            {page}" in done.stdout
        text = page.read_text()
        assert ("data:image/" in text) == has
        assert "Hardest pairs" in text
        assert "Map of held-out embeddings" in text
        assert "Class frequency against accuracy" in text
        assert "Left out" not in text
    with chromium(tmp_path / "chromium") as browser:
        page = browser.open((tmp_path / "True.html").as_uri())
        points = page.evaluate(
            "reportCharts.get('chart-map-0-0').plot.data.slice(1).flat().filter((y) => y !== null).length"
        )
        assert points == 20
        page.evaluate("document.querySelector('#chart-map-0-0 .plot').focus()")
        page.press("Home")
        page.wait_for("document.querySelector('.card img').naturalWidth > 0")
        told = page.evaluate("document.querySelector('#chart-map-0-0 .reading').textContent")
        assert told == page.evaluate("document.querySelector('.card span').textContent")
        assert re.fullmatch(r"identity \d+, image [12] of pair \d+", told)
        assert all(each.startswith(("data:", "file:")) for each in page.requests)
        assert page.complaints == []


def test_what_cannot_be_read_is_left_out_with_the_reason(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished / "run", run)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(finished), "/nowhere"))
    shutil.rmtree(run / "checkpoints")
    done = call("report", run)
    assert done.returncode == 0, done.stderr
    text = (run / "report.html").read_text()
    assert "/nowhere/pairs.bin: cannot be read: No such file or directory" in text
    assert "Map of embeddings and class frequency: " in text
    assert "The band is the 95 % interval" in text  # which the saved scores have all for
    write_pairs(tmp_path / "other.bin", make_pairs(open_source(finished / "train.rec"), pairs=100, seed=1))
    (run / "config.yaml").write_text(config.replace(str(finished / "pairs.bin"), str(tmp_path / "other.bin")))
    found = opened(run)
    assert "the pairs are not those that the run verified on: 100 pairs now, 200 then" in found.left_out[0]
    os.mkfifo(tmp_path / "pipe.bin")
    (run / "config.yaml").write_text(config.replace(str(finished / "pairs.bin"), str(tmp_path / "pipe.bin")))
    assert "pipe.bin: is neither a file nor a folder" in opened(run).left_out[0]
    (run / "config.yaml").unlink()
    assert "cannot" in opened(run).left_out[0] or "No such file" in opened(run).left_out[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--output", "a.png"), "--output is 'a.png'; it must be a .html file in a folder that exists"),
        (("--picture", "a.html"), "--picture is 'a.html'; it must be a .png file in a folder that exists"),
    ],
    ids=["output", "picture"],
)
def test_what_cannot_be_done_is_said_before_any_work(finished, words, says):
    done = call("report", finished / "run", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
