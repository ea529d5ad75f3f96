"""Whether the loader keeps up."""

import numpy as np

from partialfc.data.images.codec import encode_png
from partialfc.data.sources.insightface import write_source
from partialfc.doctor import Level
from partialfc.doctor.loading import judge_loading
from tests import train_cases
from tests.doctor.cases import examined, found


def test_a_loader_too_slow_is_red(tmp_path):
    """Large pictures, a tiny network and no workers: nearly all of a long run would be waiting."""
    image = encode_png(np.random.default_rng(0).integers(0, 256, (2000, 2000, 1), np.uint8))
    write_source(
        tmp_path / "train.rec", [(image, label) for label in range(4)], num_classes=4, image_size=(2000, 2000)
    )
    config = train_cases.small_config(tmp_path, "train.steps=1000000")
    check = found(examined(config), "loading")
    assert check.level == Level.RED
    assert "in place of" in check.says
    assert "data.workers" in check.remedy


def test_loading_is_judged_by_what_it_costs():
    usual = {"batch": 128, "compute": 0.5, "steps": 100_000, "cores": 32, "ranks": 1}
    assert judge_loading(4 * 100, workers=4, **usual).level == Level.GREEN
    slow = judge_loading(2 * 90, workers=2, **usual)
    assert slow.level == Level.YELLOW
    assert slow.remedy == "set data.workers to 4"
    alone = judge_loading(90, workers=0, **usual)
    assert alone.level == Level.RED
    crowded = judge_loading(90, workers=0, **{**usual, "cores": 2})
    assert "there are 2" in crowded.remedy
