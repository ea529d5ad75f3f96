"""`head.class_weights` of a run: the file that it names, and what it does to the training."""

import sys

import numpy as np
import pytest
import torch

import partialfc
from partialfc.training.loop import Trainer
from tests.train_cases import CLASSES, small_config
from tests.training.cases import EXACT, losses, moved, run


@pytest.mark.parametrize("name", ["weights.npy", "weights.txt"])
def test_classes_of_weight_zero_train_nothing(folder, name):
    """All weight on the first class: only its samples move the backbone, so the others' loss stays high."""
    weights = np.zeros(CLASSES)
    weights[0] = 2.0
    path = folder / name
    np.save(path, weights) if name.endswith("npy") else np.savetxt(path, weights)
    run(small_config(folder, f"head.class_weights={path}", **EXACT, train={"steps": 30}))
    assert losses(folder)[-1] < 0.1  # the one class is learnt, and nothing else counts


def test_any_number_of_ranks_trains_alike(run_ranks, folder):
    path = folder / "weights.txt"
    np.savetxt(path, np.linspace(0.1, 2, CLASSES))
    curves = []
    for world_size in (1, 3):
        place = moved(folder, str(world_size))
        run_ranks(run, world_size, small_config(place, f"head.class_weights={path}", **EXACT))
        curves.append(losses(place))
    assert curves[0] == pytest.approx(curves[1], abs=1e-9)
    run(small_config(moved(folder, "none"), **EXACT))
    assert losses(folder / "none") != pytest.approx(curves[0], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"weights\.txt cannot be read: No such file or directory"),
        ("1\n2\n", r"has the shape \(2,\), but there are 20 classes; it must have one number for each"),
        ("1\nmany\n", r"holds no list of numbers \(could not convert string"),
        ("1\n" * 19 + "1e-46\n", r"the weight of class 19 is 1e-46, and the largest 1\.0: float32 does not"),
        ("1\n" * 19 + "-1\n", r"the weight of class 19 is -1\.0; it must be finite and at least 0"),
        ("1\n" * 19 + "nan\n", r"the weight of class 19 is nan"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(folder, text, message):
    path = folder / "weights.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(partialfc.ConfigError, match=message):
        Trainer(small_config(folder, f"head.class_weights={path}"), torch.device("cpu"))


def test_a_npy_file_of_something_else_is_refused(folder):
    path = folder / "weights.npy"
    for content in (b"1\n2\n", b"", b"\x80\x04cthis\ns\n."):  # the last is a pickle that imports
        path.write_bytes(content)
        with pytest.raises(partialfc.ConfigError, match="holds no list of numbers") as caught:
            Trainer(small_config(folder, f"head.class_weights={path}"), torch.device("cpu"))
        assert "unsafe" not in str(caught.value)
    assert "this" not in sys.modules
    np.save(path, np.array([{}] * 20), allow_pickle=True)  # never unpickled
    with pytest.raises(partialfc.ConfigError, match="holds no list of numbers"):
        Trainer(small_config(folder, f"head.class_weights={path}"), torch.device("cpu"))
    for dtype in (np.complex128, np.bool_):
        np.save(path, np.ones(20, dtype))
        with pytest.raises(partialfc.ConfigError, match=r"holds no list of numbers \(its dtype is "):
            Trainer(small_config(folder, f"head.class_weights={path}"), torch.device("cpu"))
