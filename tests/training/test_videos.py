"""Pairs of videos, as YTF has them, among the verification sets of a run."""

import json
from pathlib import Path

import pytest

from partialfc.config import Config
from partialfc.data.sources.source import open_source
from partialfc.doctor.pairs import check_pairs
from partialfc.errors import ConfigError, ImageError
from partialfc.metrics.run_log import read_metrics
from tests.processes import call
from tests.train_cases import small_config
from tests.training.cases import run
from tests.training.test_pfe import BACKBONE, of


@pytest.fixture
def splits(folder: Path) -> Path:
    """The list of six pairs of videos of one to three frames, in two splits."""
    source = open_source(folder / "train.rec")
    labels, videos = source.class_ids(), folder / "videos"
    for number in range(12):
        person, video = number // 3, number % 3
        frames = [index for index in range(len(source)) if labels[index] == person][video : 2 * video + 1]
        for frame, index in enumerate(frames):
            path = videos / f"P_{person}" / str(video) / f"{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read(index)[0])
    lines = [
        f"{split}, {pair}, P_{a}/{pair}, P_{b}/{(pair + 1) % 3}, {int(a == b)}"
        for split, people in ((1, (0, 1)), (2, (2, 3)))
        for pair, (a, b) in enumerate([(people[0], people[0]), people, (people[1], people[1])])
    ]
    (videos / "splits.txt").write_text("\n".join(lines) + "\n")
    return videos / "splits.txt"


def config(folder: Path, splits: Path) -> Config:
    return small_config(folder, "train.steps=3", verification=sets_of(splits))


def sets_of(splits: Path) -> dict[str, object]:
    return {"sets": {"ytf": str(splits)}, "every_steps": 100}


def test_a_run_verifies_on_them_as_evaluate_does(folder, splits):
    run(config(folder, splits))
    (verified,) = (each for each in read_metrics(folder / "run") if each["event"] == "verification")
    how = ("--pairs", splits, "--trust", "tests.train_cases", "--bootstrap", 0, "--json")
    found = json.loads(call("evaluate", folder / "run", *how).stdout)
    assert found["pairs"] == 6
    shared = [name for name in found if name in verified]
    assert {"accuracy", "threshold", "auc"} <= {*shared}
    assert [found[name] for name in shared] == [verified[name] for name in shared]
    assert check_pairs({"ytf": splits}, folds=None, max_pixels=100).level == "green"


def test_a_first_frame_that_does_not_decode_is_named_before_training(folder, splits):
    (splits.parent / "P_1" / "2" / "0.png").write_bytes(b"no image")
    with pytest.raises(
        ImageError, match=r"(?s)verification\.sets\.ytf: .*splits\.txt: .*frame \d+ \(video \d+\)"
    ):
        run(config(folder, splits))
    assert not read_metrics_of_training(folder)


def read_metrics_of_training(folder: Path) -> list[object]:
    log = folder / "run" / "metrics.jsonl"
    return [line for line in log.read_text().splitlines() if '"train"' in line] if log.exists() else []


def test_a_run_that_verifies_by_likelihood_refuses_them(folder, splits):
    run(small_config(folder, "train.steps=3", backbone=BACKBONE))
    pfe = of(folder, "pfe", "train.steps=3", verification=sets_of(splits))
    with pytest.raises(
        ConfigError, match=r"verification\.sets\.ytf: .* pairs of videos, which are compared by"
    ):
        run(pfe)
