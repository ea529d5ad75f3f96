"""`partialfc gallery`: built from images, changed, and asked who is in an image."""

import json
from dataclasses import replace

import numpy as np
import pytest

from partialfc.data.images.codec import encode_png
from partialfc.serving.card import Threshold
from partialfc.serving.gallery.gallery import Gallery
from partialfc.serving.gallery.update import create
from tests.processes import call
from tests.serving.cases import CARD, pictures, rows, write_onnx, write_pictures

MEASURED = replace(CARD, thresholds=(Threshold(set="pairs", far=1e-3, threshold=0.999),))


@pytest.fixture
def desk(tmp_path):
    """A model, a folder of two classes, and a gallery of it."""
    write_onnx(tmp_path / "small.onnx", MEASURED)
    write_pictures(tmp_path / "people", pictures(6), classes=2)
    built = call("gallery", "build", tmp_path / "g", tmp_path / "small.onnx", tmp_path / "people")
    assert built.returncode == 0, built.stderr
    assert built.stdout == f"{tmp_path}/g: 6 rows of 8 numbers\n"
    return tmp_path


def ask(folder, *arguments):
    done = call("gallery", "search", folder / "g", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_who_is_in_an_image(desk):
    (desk / "who.png").write_bytes(encode_png(pictures(6)[3]))
    (desk / "stranger.png").write_bytes(encode_png(255 - pictures(6)[3]))
    who, stranger = desk / "who.png", desk / "stranger.png"
    lines = ask(desk, who, "-k", 2).splitlines()
    assert lines[0] == f"{who}: class1 1.0000"
    assert lines[1] == "  1.0000 class1 (class1/003.png)"
    assert len(lines) == 3
    assert f"{who}: class1 1.0000\n" in ask(desk, who, stranger, "--threshold", 0.9)
    assert f"{stranger}: nobody\n" in ask(desk, who, stranger, "--far", 1e-3)
    found = [json.loads(line) for line in ask(desk, who, stranger, "--far", "0.001", "--json").splitlines()]
    assert [each["name"] for each in found] == ["class1", None]
    assert [each["threshold"] for each in found] == [0.999, 0.999]
    assert [len(each["matches"]) for each in found] == [5, 5]
    expected = rows(pictures(6)) @ rows(pictures(6)[3:4])[0]
    scores = {each["key"]: each["score"] for each in found[0]["matches"]}
    for key, score in scores.items():
        assert score == pytest.approx(expected[int(key[-7:-4])], abs=1e-5)


def test_images_are_added_and_names_removed(desk):
    (desk / "Cleo.png").write_bytes(encode_png(pictures(1, seed=9)[0]))
    added = call("gallery", "add", desk / "g", desk / "Cleo.png")
    assert (added.returncode, added.stdout) == (0, f"{desk}/g: 1 rows more, 7 now\n"), added.stderr
    name = str(desk / "Cleo")
    assert ask(desk, desk / "Cleo.png").startswith(f"{desk}/Cleo.png: {name} 1.0000\n")
    removed = call("gallery", "remove", desk / "g", name, "class0")
    assert (removed.returncode, removed.stdout) == (0, f"{desk}/g: 4 rows less, 3 now\n"), removed.stderr
    assert {*Gallery(desk / "g").names()} == {"class1"}


@pytest.mark.parametrize("index", ["float16", "int8", "faiss"])
def test_the_mean_of_each_class(desk, index):
    built = call(
        "gallery", "build", desk / "m", desk / "small.onnx", desk / "people", "--mean", "--index", index
    )
    assert built.returncode == 0, built.stderr
    gallery = Gallery(desk / "m")
    assert [gallery.name(place) for place in range(len(gallery))] == [("class0", ""), ("class1", "")]
    sums = np.stack([rows(pictures(6))[start::2].sum(axis=0) for start in (0, 1)])
    expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    np.testing.assert_allclose(gallery.rows([0, 1]), expected, atol=0.01)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--far", "1e-4"], "has no threshold at the false accept rate 0.0001", id="far"),
        pytest.param(["--far", "2"], "--far is 2; it must lie between 0 and 1", id="no-rate"),
        pytest.param(["--far", "1e-3", "--threshold", "0.5"], "give one of them", id="both"),
        pytest.param(["--far-set", "pairs"], "--far-set says which set of pairs --far is of", id="far-set"),
        pytest.param(["--model", "other.onnx"], "cannot be compared with them", id="other-model"),
        pytest.param(["--model", "gone.onnx"], "gone.onnx: does not exist", id="no-model"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_line(desk, arguments, says):
    write_onnx(desk / "other.onnx", replace(CARD, weights="cd" * 32))
    image = desk / "people/class0/000.png"
    done = call("gallery", "search", desk / "g", image, *arguments, cwd=desk)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_gallery_that_knows_no_model_asks_for_it(desk):
    """As Python makes one."""
    create(desk / "made", MEASURED, [(rows(pictures(1)), [("class0", "")])])
    image = desk / "people/class0/000.png"
    done = call("gallery", "search", desk / "made", image)
    assert "does not say where its model lies; say where it is: --model PATH" in done.stderr
    assert call("gallery", "search", desk / "made", image, "--model", desk / "small.onnx").returncode == 0


def test_a_model_that_was_moved_is_asked_for(desk):
    (desk / "small.onnx").rename(desk / "moved.onnx")
    image = desk / "people/class0/000.png"
    done = call("gallery", "search", desk / "g", image)
    assert "say where it is: --model PATH" in done.stderr
    assert ask(desk, image, "--model", desk / "moved.onnx").startswith(f"{image}: class0 1.0000")


def test_broken_images_may_be_left_out(desk):
    (desk / "people/class0/000.png").write_bytes(b"no image")
    build = ("gallery", "build", desk / "b", desk / "small.onnx", desk / "people")
    failed = call(*build)
    assert failed.returncode == 1
    assert "class0/000.png: no JPEG" in failed.stderr
    assert call("gallery", "search", desk / "b", desk / "people").returncode == 1  # there is none
    done = call(*build, "--skip-bad", desk / "bad.txt")
    assert done.stdout == f"{desk}/b: 5 rows of 8 numbers\n", done.stderr
    assert (desk / "bad.txt").read_text().startswith("class0/000.png\tno JPEG") or "no JPEG" in (
        desk / "bad.txt"
    ).read_text()
    failed = call("gallery", "search", desk / "b", desk / "people", "-k", 1)
    assert "class0/000.png: no JPEG" in failed.stderr
    asked = ask(desk, desk / "people", "-k", 1, "--skip-bad", desk / "unasked.txt").splitlines()
    assert len(asked) == 2 * 5
    assert (desk / "unasked.txt").read_text() == (desk / "bad.txt").read_text()
    no_classes = call("gallery", "build", desk / "c", desk / "small.onnx", desk / "people/class1", "--mean")
    assert "have no classes, which --mean takes" in no_classes.stderr


@pytest.mark.parametrize("command", ["build", "add"])
@pytest.mark.parametrize("kind", ["class", "file"])
def test_a_name_that_a_gallery_does_not_take_is_told_before_any_work(desk, command, kind):
    (desk / "new/a").mkdir(parents=True)
    image = desk / ("new/a/0.png" if kind == "class" else "new/b\u200b.png")
    image.write_bytes(b"no image, which is not looked at")
    if kind == "class":
        (desk / "new/a").rename(desk / "new/b\u200b")
    else:
        (desk / "new/a").rmdir()
    place = (desk / "h", desk / "small.onnx") if command == "build" else (desk / "g",)
    done = call("gallery", command, *place, desk / "new")
    assert done.returncode == 1
    assert r"its name in a gallery is 'b\u200b', and must be 1 to 1000 printable characters" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_words_for_faiss_without_faiss_are_refused(desk):
    done = call("gallery", "build", desk / "f", desk / "small.onnx", desk / "people", "--faiss", "Flat")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--faiss is for --index faiss, and --index is float32: leave one of them out" in done.stderr
    assert not (desk / "f").exists()
