"""`partialfc data clean`: from a run on wrong labels to a list that training takes."""

import json

import numpy as np
import pytest

from partialfc.data.images.codec import encode_png
from partialfc.data.sources.keys import read_keys
from partialfc.data.sources.source import open_source
from tests.processes import call
from tests.train_cases import small_config
from tests.training.cases import run

CLASSES, PER_CLASS, FLIPPED = 30, 8, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on a folder of patterns, of which some lie in the folder of another class."""
    folder = tmp_path_factory.mktemp("clean")
    generator = np.random.default_rng(0)
    patterns = generator.integers(40, 216, (CLASSES, 8, 8, 1))
    identities = np.repeat(np.arange(CLASSES), PER_CLASS)
    given = identities.copy()
    flips = generator.permutation(len(given))[:FLIPPED]
    given[flips] = (given[flips] + generator.integers(1, CLASSES, FLIPPED)) % CLASSES
    for number, (identity, label) in enumerate(zip(identities, given, strict=True)):
        noise = generator.integers(-30, 30, (8, 8, 1))
        image = encode_png((patterns[identity] + noise).clip(0, 255).astype(np.uint8))
        path = folder / "images" / f"class{label:02}" / f"{number}-is{identity:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    run(small_config(folder, data={"train": str(folder / "images")}, train={"steps": 60}))
    return folder


def wrong(key):
    return key[len("class") : len("class") + 2] != key[-len("00.png") : -len(".png")]


def test_wrong_labels_are_written_and_training_leaves_them_out(folder):
    listed, page, output = (folder / name for name in ("wrong.txt", "page.html", "found.json"))
    done = call(
        *("data", "clean", folder / "run", folder / "images", "--trust", "tests.train_cases"),
        *("--write-wrong", listed, "--page", page, "-o", output),
    )
    assert done.returncode == 0, done.stderr
    keys = [key for _, key in read_keys(listed)]
    assert sum(map(wrong, keys)) > 0.9 * FLIPPED
    assert sum(map(wrong, keys)) > 0.9 * len(keys)
    assert f"{len(keys)} images to leave out, of which " in done.stdout

    found = json.loads(output.read_text())
    assert (found["images"], found["classes"]) == (CLASSES * PER_CLASS, CLASSES)
    assert found["wrong_labels"]["estimated_share"] == pytest.approx(
        FLIPPED / (CLASSES * PER_CLASS), abs=0.03
    )
    listing = found["wrong_labels"]["left_out"]
    assert {each["image"] for each in listing} == set(keys)
    assert all(each["class"] == each["image"].split("/")[0] for each in listing)
    suggested = [each["nearest"][0]["class"][-2:] == each["image"][-6:-4] for each in listing]
    assert sum(suggested) > 0.8 * len(listing)
    assert "or rather class" in page.read_text()

    comment = next(line for line in listed.read_text().splitlines() if line.startswith(listing[0]["image"]))
    assert comment.endswith(f"labelled {listing[0]['class']}, nearest to {listing[0]['nearest'][0]['class']}")
    assert len(open_source(folder / "images", leave_out=listed)) == CLASSES * PER_CLASS - len(keys)
    again = {"train": str(folder / "images"), "leave_out": str(listed)}
    run(small_config(folder, run={"dir": str(folder / "again")}, data=again, train={"steps": 3}))


def test_a_second_round_writes_what_the_first_one_found_too(folder, tmp_path):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text(f"{open_source(folder / 'images').key(3)}\n")
    done = call(
        *("data", "clean", folder / "run", folder / "images", "--trust", "tests.train_cases", "--json"),
        *("--leave-out", first, "--write-wrong", second, "--by", "centres"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == CLASSES * PER_CLASS - 1
    keys = [key for _, key in read_keys(second)]
    assert keys[0] == open_source(folder / "images").key(3)
    assert len(keys) == len(set(keys))
    assert sum(map(wrong, keys)) > 0.8 * FLIPPED


def test_what_cannot_be_used_is_refused(folder, tmp_path):
    clean = ("data", "clean", folder / "run", folder / "images", "--trust", "tests.train_cases")
    assert "--precision is 1.0; it must be above 0 and below 1" in call(*clean, "--precision", 1.0).stderr
    assert "--page is" in call(*clean, "--page", tmp_path / "page.txt").stderr
    other = tmp_path / "images" / "stranger"
    other.mkdir(parents=True)
    (other / "1.png").write_bytes(encode_png(np.full((8, 8, 1), 9, np.uint8)))
    strange = ("data", "clean", folder / "run", tmp_path / "images", "--trust", "tests.train_cases")
    assert "class 'stranger' of" in call(*strange, "--by", "centres").stderr
    done = call(*strange)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path / 'images'}: 1 images of 1 classes; wrong labels are found by" in done.stderr
