"""classes.json: the names of a run's classes; an image folder's class ids stay those of the run."""

import json

import numpy as np
import pytest

import partialfc
from partialfc.config import DataConfig, load_config
from partialfc.data.images.codec import encode_png
from partialfc.deploy.trained import load_trained
from partialfc.training.builders.data import read_training_source
from tests.data.sources.cases import put
from tests.train_cases import CLASSES, small_config
from tests.training.cases import run


def test_a_damaged_class_index_is_named(tmp_path):
    (tmp_path / "images" / "ape").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "classes.json").write_text('{"a":')
    with pytest.raises(partialfc.CheckpointError, match=r"classes\.json is damaged"):
        run(small_config(tmp_path, data={"train": str(tmp_path / "images")}))


def test_image_folders_keep_their_class_ids(tmp_path):
    """A class that appears later is refused; one whose images are gone keeps its number."""
    rng = np.random.default_rng(0)
    for name in ("ape", "bee", "cat"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 255, (8, 8, 1), dtype=np.uint8)
            (tmp_path / "images" / name / f"{i}.png").write_bytes(encode_png(pixels))
    options = {"data": {"train": str(tmp_path / "images")}, "train": {"batch_size": 4, "steps": 4}}
    run(small_config(tmp_path, **options))
    assert json.loads((tmp_path / "run" / "classes.json").read_text()) == ["ape", "bee", "cat"]
    (tmp_path / "images" / "ant").mkdir()
    (tmp_path / "images" / "ant" / "0.png").write_bytes((tmp_path / "images" / "ape" / "0.png").read_bytes())
    with pytest.raises(partialfc.DataError, match="ant: not among the 3 known classes"):
        run(small_config(tmp_path, **options, checkpoint={"every_steps": 1}))


@pytest.mark.parametrize("odd", ["ä", "\udcff"], ids=["UTF-8", "other bytes"])
def test_a_record_file_with_names_beside_it_gives_them_to_the_run(folder, odd):
    names = [f"person {number} {odd}" for number in range(CLASSES)]
    lines = "".join(f"{name}\n" for name in names)
    (folder / "classes.txt").write_text(lines, encoding="utf-8", errors="surrogateescape")
    run(small_config(folder, "train.steps=3"))
    assert json.loads((folder / "run" / "classes.json").read_text()) == names
    assert load_trained(folder / "run", trust=["tests.train_cases"]).classes == tuple(names)


def test_ids_stay_when_a_resumed_run_leaves_out_a_class(tmp_path):
    """Of the first selection ape has no image, and no id; then the last one of bee is left out too."""
    images = put(tmp_path / "images", *(f"{name}/{n}.png" for name in ("ape", "bee", "cat") for n in (1, 2)))
    bad = tmp_path / "bad.txt"
    bad.write_text("ape/1.png\nape/2.png\nbee/1.png\n")
    data = {"train": str(images), "leave_out": str(bad)}
    run(small_config(tmp_path, data=data, train={"batch_size": 2, "steps": 3}))
    assert json.loads((tmp_path / "run" / "classes.json").read_text()) == ["bee", "cat"]
    bad.write_text(bad.read_text() + "bee/2.png\n")
    source = read_training_source(DataConfig(**data), tmp_path / "run")
    assert source.class_ids().tolist() == [1, 1]
    assert source.num_classes == 2


def test_a_run_on_several_sources_has_the_classes_of_all(tmp_path):
    images = put(tmp_path / "images", *(f"{name}/{n}.png" for name in ("ape", "cat") for n in (1, 2)))
    put(tmp_path / "more", "1.png", "2.png")
    (tmp_path / "list.txt").write_text("more/1.png bee\nmore/2.png cat\n")
    data = {"train": [str(images), str(tmp_path / "list.txt")]}
    run(small_config(tmp_path, data=data, train={"batch_size": 3, "steps": 3}))
    assert json.loads((tmp_path / "run" / "classes.json").read_text()) == ["ape", "bee", "cat"]
    saved = load_config(tmp_path / "run" / "config.yaml")
    assert saved.data.places == (images, tmp_path / "list.txt")
    assert read_training_source(saved.data, tmp_path / "run").class_ids().tolist() == [0, 0, 2, 2, 1, 2]
