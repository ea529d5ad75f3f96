"""Pages of runs that did not go as planned, or not yet: each says what is missing, why, and what to do."""

import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partialfc.evaluation.verification import verify
from tests.report.run_page.cases import report, train_record, write_log, write_run

CONFIG = (
    "data:\n  train: /nowhere/train.rec\n  image_size: 24\nbackbone:\n  name: convnet\nrun:\n  dir: %s\n"
    "train:\n  steps: 500\n  batch_size: 8\noptimizer:\n  lr: 0.1\n"
    "verification:\n  every_steps: 50\n  sets: %s\n"
)


def words(run_dir: Path, *options: str) -> str:
    """What the page of a run says."""
    report(run_dir, *options)
    text = (run_dir / "report.html").read_text()
    body = re.sub(r"<script.*?</script>|<details.*?</details>", "", text.partition("<body>")[2], flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def begun(run_dir: Path, *steps: int, sets: str = "{}", **more: Any) -> Path:
    """A run of which nothing is there but these steps, each with `more`, and a config."""
    rng = np.random.default_rng(0)
    write_log(run_dir, [train_record(step, rng, **more) for step in steps])
    (run_dir / "config.yaml").write_text(CONFIG % (run_dir, sets))
    return run_dir


def test_the_config_is_shown_as_it_is_written(tmp_path):
    stages = "[{until_step: 60, from_step: null, head.interclass_filter: null}, {from_step: 9, head.x: 0.5}]"
    begun(tmp_path, 10, sets=f"{{}}\nstages: {stages}")
    report(tmp_path)
    text = unescape((tmp_path / "report.html").read_text())
    assert "[{until_step: 60, head.interclass_filter: null}, {from_step: 9, head.x: 0.5}]" in text


def test_the_first_keys_of_the_config_are_those_that_count(tmp_path):
    sections = "head: {name: partial_fc, margin: {name: arcface}, sample_rate: 0.5}"
    begun(tmp_path, 10, sets=f"{{}}\n{sections}")
    assert "head.margin.name arcface" in words(tmp_path).replace(". ", ".")
    backbone = "objective: {name: pfe, backbone_from: /nowhere}"
    begun(tmp_path, 10, sets=f"{{}}\n{sections}\n{backbone}")
    assert "head." not in words(tmp_path).replace(". ", ".")


def test_a_run_with_a_pool_has_its_features_in_place_of_centres(tmp_path):
    rng = np.random.default_rng(0)
    write_log(tmp_path, [train_record(step, rng, centres=step) for step in (1, 2)])
    (tmp_path / "config.yaml").write_text("head: {name: pool, sample_rate: 1.0}\n")
    said = words(tmp_path)
    assert "Features in the pool" in said
    assert "Centres that take part" not in said


def test_true_accepts_say_at_which_rate_of_false_ones(tmp_path):
    write_run(tmp_path)
    assert "True accepts on lfw At a false accept rate of 1e-2." in words(tmp_path)


def test_a_run_that_diverged_says_since_when(tmp_path):
    records = write_run(tmp_path / "run")
    for record in records:
        if record["event"] == "train" and record["step"] > 200:
            record |= {
                "loss": None,
                "nonfinite_steps": record["step"] - 200,
                "target_angle_histogram": [0] * 36,
            }
    write_log(tmp_path / "run", records)
    said = words(tmp_path / "run")
    assert "last loss not finite" in said
    assert "The last finite loss is that of step 200: the run has diverged." in said
    assert "300 steps were skipped" in said


def test_a_run_without_a_finite_loss_has_a_page_too(tmp_path):
    said = words(begun(tmp_path, 1, 2, loss=None, target_angle_histogram=[]))
    assert "No loss is finite: the run has diverged." in said
    assert "Learning rate" in said


def test_a_run_of_one_step_has_each_angle_once(tmp_path):
    begun(tmp_path, 1)
    assert "steps 1 of 500" in words(tmp_path)
    text = (tmp_path / "report.html").read_text()
    (shown,) = re.findall(r'id="chart-angles-target".*?</figure>', text, flags=re.S)
    assert shown.count('"name":"step 1"') == 1
    assert '"name":"to the nearest other centre"' not in text


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ("{}", "Verified on nothing: verification.sets names no pairs."),
        ("{lfw: /nowhere/lfw.bin}", "Not verified yet: verification.every_steps is 50."),
    ],
    ids=["no sets", "a set"],
)
def test_a_run_that_has_not_verified_says_why(tmp_path, sets, says):
    said = words(begun(tmp_path, 10, 20, sets=sets))
    assert "steps 20 of 500" in said
    assert says in said
    assert "Map of embeddings and class frequency: the run has no checkpoint" in said


def test_scores_from_before_training_say_that_they_have_no_band(tmp_path):
    write_run(tmp_path)
    (tmp_path / "verification" / "lfw.latest.npz").unlink()
    assert "No band: these are the scores from before training." in words(tmp_path)


def test_a_run_whose_data_is_gone_keeps_its_curves(tmp_path):
    write_run(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG % (tmp_path, "{lfw: /nowhere/lfw.bin}"))
    said = words(tmp_path)
    assert "Hardest pairs and map of lfw: /nowhere/lfw.bin: cannot be read: No such file or directory" in said
    assert "The band is the 95 % interval" in said


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PK\3\4", "lfw.latest.npz: is damaged, or holds no scores"),
        (b"text", "lfw.latest.npz: is damaged, or holds no scores"),
        (None, "verification has no scores of it"),
    ],
    ids=["half", "text", "none"],
)
def test_scores_that_cannot_be_read_are_left_out(tmp_path, content, why):
    write_run(tmp_path)
    for path in (tmp_path / "verification").iterdir():
        path.unlink()
    if content is not None:
        (tmp_path / "verification" / "lfw.latest.npz").write_bytes(content)
    said = words(tmp_path, "--picture", tmp_path / "drawn.png")
    assert re.search(rf"Left out .*ROC, scores and hardest pairs of lfw: \S*{re.escape(why)}", said)
    assert said.count("hardest pairs of lfw") == 1
    assert "Learning rate" in said
    assert (tmp_path / "drawn.png").exists()


def test_a_set_may_have_a_dot_in_its_name(tmp_path):
    write_run(tmp_path)
    saved = tmp_path / "verification" / "lfw.latest.npz"
    shutil.copy(saved, saved.with_name("lfw.v2.latest.npz"))
    assert "Scores on lfw.v2" in words(tmp_path)


def test_a_run_without_its_config_says_so(tmp_path):
    write_run(tmp_path)
    (tmp_path / "config.yaml").unlink(missing_ok=True)
    said = words(tmp_path)
    assert f"Config: {tmp_path / 'config.yaml'}: No such file or directory" in said
    assert "Errno" not in said


def test_a_log_of_an_older_version_says_what_to_do_for_step_times(tmp_path):
    begun(tmp_path, 10, 20, step_seconds=None, phase_seconds=None)
    assert "A run that is trained or resumed with this one says it." in words(tmp_path)


def test_one_of_several_runs_may_have_hardly_anything(tmp_path):
    write_run(tmp_path / "full")
    begun(tmp_path / "new", 1)
    shutil.copytree(tmp_path / "full", tmp_path / "diverged")
    records = write_run(tmp_path / "spare")
    for record in records:
        record |= {"loss": None} if "loss" in record else {}
    write_log(tmp_path / "diverged", records)
    report(*(tmp_path / name for name in ("new", "full", "diverged")))
    text = (tmp_path / "report.html").read_text()
    assert "3 runs; differences are from new." in text
    assert "Differences from full" in text
    assert "diverged: No loss is finite" in text


def test_what_several_runs_lack_is_said_once(tmp_path):
    for name in ("first", "second", "third"):
        write_run(tmp_path / name)
    for name in ("second", "third"):
        saved = tmp_path / name / "verification" / "lfw.latest.npz"
        with np.load(saved) as held:
            kept = {key: held[key] for key in held if key != "identities"}
        np.savez(saved, **kept)
    report(
        *(tmp_path / name for name in ("first", "second", "third")), "-o", tmp_path / "all.html", "--embed", 0
    )
    text = (tmp_path / "all.html").read_text()
    assert "second, third: no differences from first on lfw, as it is not known whom the images show." in text
    missing = [each for each in text.split("<p>") if "--embed 0 was given" in each]
    assert len(missing) == 1
    assert missing[0].startswith("first, second, third: Map of embeddings and class frequency")


@pytest.mark.parametrize("folds", [{"folds": np.arange(8) // 2 % 3}, {}], ids=["own-folds", "no-folds"])
def test_a_set_of_few_pairs_has_its_figures(tmp_path, folds):
    """On the folds of the file, as the run's log has them; without, on two."""
    write_run(tmp_path / "run")
    same, identities = np.arange(8) % 2 == 0, np.stack([np.arange(8) // 2, np.arange(8)], 1)
    scores = np.array([0.5, 0.2, 0.6, 0.55, 0.3, 0.1, 0.7, 0.4])
    saved = {"scores": scores, "same": same, "identities": identities, "step": 500, **folds}
    np.savez(tmp_path / "run" / "verification" / "lfw.latest.npz", **saved)
    accuracy = verify(scores, same, folds=folds.get("folds", 2)).accuracy
    assert f"accuracy on lfw {accuracy:.2%}" in words(tmp_path / "run")
