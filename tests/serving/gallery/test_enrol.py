"""Images into a gallery: a process that is killed is gone on with, and the gallery becomes the same."""

import json
import os
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partialfc.data.images.codec import encode_png
from partialfc.errors import ConfigError, DataError
from partialfc.serving.embed import Work
from partialfc.serving.gallery import enrol, top_k, update
from partialfc.serving.gallery.enrol import add_to_gallery, build_gallery
from partialfc.serving.gallery.gallery import Gallery
from partialfc.serving.gallery.update import remove_names
from partialfc.serving.images import open_images
from partialfc.serving.model import open_model
from tests.processes import ENVIRONMENT, warm_python
from tests.serving.cases import CARD, matrix, pictures, write_onnx, write_pictures
from tests.serving.kills import Setting, kill_at_each_step

ONE = Work(batch_size=1, workers=0)


@pytest.fixture
def desk(tmp_path):
    """A model, images of two classes, one of which cannot be decoded, and others to add."""
    write_onnx(tmp_path / "small.onnx")
    write_pictures(tmp_path / "people", pictures(20), classes=2)
    write_pictures(tmp_path / "more", pictures(18, seed=2), classes=3)
    (tmp_path / "people/class0/004.png").write_bytes(b"no image")
    return tmp_path


def model(desk: Path):
    return open_model(desk / "small.onnx", threads=1)


def build(desk: Path, folder: str, **options):
    images = open_images([str(desk / "people")])
    options = {"work": ONE, "skip_bad": desk / f"{folder}.bad", **options}
    return build_gallery(desk / folder, model(desk), images, model=desk / "small.onnx", **options)


def added(desk: Path, folder: str, **options):
    images = open_images([str(desk / "more")])
    return add_to_gallery(Gallery(desk / folder), model(desk), images, options.pop("work", ONE), **options)


def content(folder: Path) -> dict[str, bytes]:
    """What its files hold after a change more, which tidies up; without the numbers in their names."""
    remove_names(folder, ["class1"])
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "gallery.json"}
    return {name.split("-")[0]: held for name, held in found.items()}


def killed_building(folder: str, mean: str) -> Setting:
    """For kill_at_each_step: each time gone on with."""
    desk = Path(folder)

    def act(time: int) -> None:
        with suppress(ConfigError):  # where it is a gallery already
            build(desk, "killed", mean=mean == "mean")

    return Setting(where="killed", act=act, look=lambda time: time)


def killed_adding(folder: str) -> Setting:
    desk = Path(folder)

    def act(time: int) -> None:
        if len(Gallery(desk / "killed")) == 19:  # it did not get as far before
            added(desk, "killed")

    return Setting(where="killed", act=act, look=lambda time: time)


@pytest.mark.slow
@pytest.mark.parametrize("mean", ["mean", "images"])
def test_building_is_gone_on_with_after_a_kill_at_any_moment(desk, mean):
    build(desk, "calm", mean=mean == "mean")
    looked = kill_at_each_step(f"{__name__}.killed_building", desk, mean, cwd=desk)
    assert len(looked) > 10
    assert [*Gallery(desk / "killed").names()] == [*Gallery(desk / "calm").names()]
    assert (desk / "killed.bad").read_bytes() == (desk / "calm.bad").read_bytes()
    assert content(desk / "killed") == content(desk / "calm")


@pytest.mark.slow
def test_adding_is_gone_on_with_after_a_kill_at_any_moment(desk):
    for folder in ("calm", "killed"):
        build(desk, folder)
    added(desk, "calm")
    assert len(kill_at_each_step(f"{__name__}.killed_adding", desk, cwd=desk)) > 10
    assert content(desk / "killed") == content(desk / "calm")


class Stopped(Exception):
    """In place of a kill, which a test of what is done again does not need."""


class Watched:
    """Progress that stops when so many images are embedded, and knows where it began."""

    def __init__(self, stop: int | None = None) -> None:
        self.first: int | None = None
        self._stop = stop

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.first = done if self.first is None else self.first
        if done == self._stop:
            raise Stopped


@pytest.mark.parametrize("command", [build, added])
def test_the_images_that_were_embedded_are_not_embedded_again(desk, command):
    build(desk, "g")
    options = {"overwrite": True} if command is build else {}
    with pytest.raises(Stopped):
        command(desk, "g", progress=Watched(stop=16), **options)
    assert len(Gallery(desk / "g")) == 19
    again = Watched()
    command(desk, "g", progress=again, **options)
    assert again.first == 16
    assert [path.name for path in (desk / "g").glob("*embeddings*")] == []


def test_an_image_that_was_changed_since_is_embedded_again(desk, caplog):
    with pytest.raises(Stopped):
        build(desk, "g", progress=Watched(stop=16))
    first = next(path for path in sorted((desk / "people").rglob("*.png")))
    first.write_bytes(encode_png(pictures(1, seed=7)[0]))
    build(desk, "g")
    assert "of 16 images that were embedded some were changed since, so all are embedded again" in caplog.text
    build(desk, "calm")
    assert content(desk / "g") == content(desk / "calm")


def test_another_setting_begins_anew(desk):
    with pytest.raises(Stopped):
        build(desk, "g", progress=Watched(stop=16))
    (before,) = (path.name for path in (desk / "g").glob("embeddings-*.npy.partial"))
    anew = Watched(stop=18)
    with pytest.raises(Stopped):
        build(desk, "g", progress=anew, work=Work(batch_size=2, workers=0))
    assert anew.first == 0
    (after,) = (path.name for path in (desk / "g").glob("embeddings-*.npy.partial"))
    assert before != after


def test_images_that_were_left_out_before_are_not_forgotten(desk):
    with pytest.raises(Stopped):
        build(desk, "g", progress=Watched(stop=16))
    with pytest.raises(ConfigError, match="begun with --skip-bad, and 1 images were skipped; give it again"):
        build(desk, "g", skip_bad=None)
    assert build(desk, "g") == 19


def test_two_classes_of_one_name_are_no_two_means(desk):
    write_pictures(desk / "twice", pictures(4), classes=2)
    for number, name in enumerate(("Jos\u00e9", "Jose\u0301")):
        (desk / f"twice/class{number}").rename(desk / "twice" / name)
    images = open_images([str(desk / "twice")])
    build_gallery(desk / "g", model(desk), images, ONE, model=desk / "m")
    with pytest.raises(DataError, match=r"is another one of that name.*into one folder"):
        build_gallery(desk / "means", model(desk), images, ONE, model=desk / "m", mean=True)


def test_a_mean_without_classes_is_refused_before_any_image_is_embedded(desk):
    (desk / "flat").mkdir()
    (desk / "flat/a.png").write_bytes(encode_png(pictures(1)[0]))
    images = open_images([str(desk / "flat")])
    watched = Watched()
    with pytest.raises(DataError, match="have no classes, which --mean takes"):
        build_gallery(desk / "g", model(desk), images, ONE, model=desk / "m", mean=True, progress=watched)
    assert watched.first is None
    assert not (desk / "g").exists()


def test_rows_are_those_of_the_images(desk):
    build(desk, "g")
    gallery = Gallery(desk / "g")
    keys = [gallery.name(place)[1] for place in range(len(gallery))]
    numbers = [int(Path(key).stem) for key in keys]
    np.testing.assert_allclose(gallery.rows(range(19)), model(desk).embed(pictures(20)[numbers]), atol=1e-6)


def peak(action: Callable[[], object]) -> int:
    """The most bytes that Python and NumPy have besides, at any moment of an action."""
    tracemalloc.start()
    action()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def peaks(desk: Path, storage: Any, count: int) -> None:
    """Prints those of building a gallery of images, adding as many, and a search; in a new process."""
    enrol.BLOCK = update.BLOCK = top_k.BLOCK = 128
    place, network = desk / "small.onnx", model(desk)
    images, gallery = open_images([str(desk / str(count))]), desk / f"g{count}"
    work = Work(batch_size=100, workers=0)
    most = [
        peak(lambda: build_gallery(gallery, network, images, work, model=place, storage=storage)),
        peak(lambda: add_to_gallery(Gallery(gallery), network, images, work)),
        peak(lambda: Gallery(gallery).search(network.embed(pictures(9)))),
    ]
    assert len(Gallery(gallery)) == 2 * count
    print(json.dumps(most))


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_memory_does_not_grow_with_the_rows(tmp_path, storage):
    """Four times as many take a few words an image more at most, and not the 512 numbers of its row."""
    width, few, many = 512, 1000, 4000
    card = replace(CARD, embedding_size=width)
    write_onnx(tmp_path / "small.onnx", card, weights=matrix(card))
    write_pictures(tmp_path, pictures(1))
    found = {}
    for count in (few, many):
        (tmp_path / str(count)).mkdir()
        for number in range(count):
            os.link(tmp_path / "000.png", tmp_path / str(count) / f"{number}.png")
        program = f"from {__name__} import Path, peaks; peaks(Path({str(tmp_path)!r}), {storage!r}, {count})"
        done = warm_python().run("-c", program, env=ENVIRONMENT, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found[count] = json.loads(done.stdout)
    for before, after in zip(found[few], found[many], strict=True):
        assert after - before < (many - few) * width / 2, found
