"""The quickstart in small, and what comes after it: glyphs, two gloo processes, characters never seen."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partialfc.data.glyphs.build import build_glyphs
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.insightface import RecordSource, write_source
from partialfc.deploy.class_names import read_class_names
from partialfc.metrics.run_log import read_metrics
from tests.paths import ROOT
from tests.processes import call

SEEN = 1400  # of the characters; the quickstart learns these
IMAGES = 3  # of each of the others, about a tenth as many as it learns from


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders seen, new and rest, and pairs of rest: other images of the characters of new."""
    folder = tmp_path_factory.mktemp("glyphs")
    build_glyphs(folder / "all", holdout=200, pairs=3000)
    source = RecordSource(folder / "all" / "train.rec")
    ids = source.class_ids()
    images = [np.flatnonzero(ids == label).tolist() for label in range(source.num_classes)]
    write_part(folder / "seen", source, range(SEEN), images)
    unseen = range(SEEN, source.num_classes)
    write_part(folder / "new", source, unseen, [of_class[:IMAGES] for of_class in images])
    rest = write_part(folder / "rest", source, unseen, [of_class[IMAGES:] for of_class in images])
    write_pairs(folder / "rest" / "pairs.bin", make_pairs(RecordSource(rest), pairs=3000, seed=0))
    return folder


def write_part(folder: Path, source: RecordSource, labels: range, images: Sequence[Sequence[int]]) -> Path:
    """A .rec of the named classes, numbered from 0, with their names, and of each the listed images."""
    folder.mkdir()
    chosen = (
        (source.read(index)[0], number) for number, label in enumerate(labels) for index in images[label]
    )
    write_source(folder / "train.rec", chosen, num_classes=len(labels), image_size=(32, 32))
    names = source.classes
    assert names is not None
    (folder / "classes.txt").write_text("".join(f"{names[label]}\n" for label in labels))
    return folder / "train.rec"


@pytest.fixture(scope="module")
def quickstart(glyphs: Path) -> Path:
    """Its finished run, which learned the characters seen."""
    pairs = f"{{unseen: {glyphs / 'all' / 'pairs.bin'}}}"
    train(glyphs, "quickstart", glyphs / "seen", f"verification.sets={pairs}", *STEPS, ranks=2)
    return glyphs / "runs" / "quickstart"


STEPS = ("train.steps=80", "schedule.warmup_steps=10")


def train(glyphs: Path, config: str, data: Path, *overrides: str, ranks: int = 0, run: str = "") -> Path:
    """A whole run in a folder of its own."""
    folder = glyphs / "runs" / (run or config)
    result = call(
        *("train", ROOT / "configs" / f"{config}.yaml"),
        f"run.dir={folder}",
        f"data.train={data / 'train.rec'}",
        *overrides,
        ranks=ranks,
    )
    assert result.returncode == 0, result.stderr
    return folder


def verifications(run: Path) -> list[dict[str, Any]]:
    return [record for record in read_metrics(run) if record["event"] == "verification"]


@pytest.mark.slow
def test_the_quickstart_learns_to_tell_unseen_characters_apart(quickstart):
    untrained, trained = verifications(quickstart)
    assert trained["accuracy"] > max(0.95, untrained["accuracy"] + 0.03)
    assert trained["tar@far=1e-3"] > untrained["tar@far=1e-3"] + 0.1


@pytest.mark.slow
def test_evaluating_it_gives_what_its_last_verification_gave(glyphs, quickstart):
    command = ("evaluate", quickstart, "--pairs", glyphs / "all" / "pairs.bin", "--json", "--bootstrap", 0)
    found, (*_, verified) = json.loads(call(*command).stdout), verifications(quickstart)
    assert found == {name: verified[name] for name in found}


@pytest.mark.slow
def test_fine_tuning_it_on_a_tenth_of_the_images_of_new_characters_beats_training_anew(glyphs, quickstart):
    """configs/finetune.yaml, and the quickstart from scratch on the same images for the same time."""
    source, seen = (RecordSource(glyphs / part / "train.rec") for part in ("new", "seen"))
    assert len(source) < len(seen) / 10
    names = read_class_names(quickstart, num_classes=SEEN)
    assert not {*names} & {*source.classes}
    both = (f"verification.sets={{new: {glyphs / 'rest' / 'pairs.bin'}}}", "train.batch_size=64")
    steps = ("train.steps=30", "schedule.warmup_steps=3")
    anew = train(glyphs, "quickstart", glyphs / "new", *both, *steps, "head.sample_rate=1.0", run="anew")
    start = f"finetune.backbone_from={quickstart}"
    tuned = train(glyphs, "finetune", glyphs / "new", *both, *steps, start)
    before, after = verifications(tuned)
    _, scratch = verifications(anew)
    assert after["accuracy"] > scratch["accuracy"] + 0.02
    assert after["tar@far=1e-3"] > before["tar@far=1e-3"] + 0.1
