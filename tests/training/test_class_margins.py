"""`head.class_margins` and `head.margins_by_size` of a run."""

import numpy as np
import pytest
import torch

import partialfc
from partialfc.data.sources.source import open_source
from partialfc.training.builders import class_margins
from partialfc.training.builders.class_margins import class_sizes
from partialfc.training.loop import Trainer
from tests.train_cases import CLASSES, PER_CLASS, small_config, write_class_records
from tests.training.cases import EXACT, losses, moved, run, stop_after_seven

MARGINS = np.linspace(0.0, 0.6, CLASSES)


@pytest.mark.parametrize("name", ["margins.npy", "margins.txt"])
def test_a_file_gives_each_class_its_margin(folder, name):
    path = folder / name
    np.save(path, MARGINS) if name.endswith("npy") else np.savetxt(path, MARGINS)
    trainer = Trainer(small_config(folder, f"head.class_margins={path}"), torch.device("cpu"))
    trainer.loader.close()
    np.testing.assert_allclose(trainer.objective.head.class_margins, MARGINS, atol=1e-7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"head\.class_margins: .*margins\.txt cannot be read: No such file or directory"),
        ("0.1\n", r"has the shape \(1,\), but there are 20 classes; it must have one number for each"),
        (
            "0.1\n" * 19 + "3.2\n",
            r"the margin of class 19 is 3\.2; with .*: arcface it must be .* below pi",
        ),
        ("0.1\n" * 19 + "nan\n", r"the margin of class 19 is nan"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(folder, text, message):
    path = folder / "margins.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(partialfc.ConfigError, match=message):
        Trainer(small_config(folder, f"head.class_margins={path}"), torch.device("cpu"))


def test_a_files_margins_are_in_the_margins_own_range(folder):
    path = folder / "margins.txt"
    path.write_text("2.5\n" * CLASSES)
    overrides = [f"head.class_margins={path}", "head.margin={name: cosface}"]
    with pytest.raises(partialfc.ConfigError, match=r"class 0 is 2\.5; with .*: cosface .* below 2$"):
        Trainer(small_config(folder, *overrides), torch.device("cpu"))
    overrides[1] = "head.margin={name: arcface}"
    Trainer(small_config(folder, *overrides), torch.device("cpu")).loader.close()


@pytest.mark.parametrize("at_once", [3, 1 << 20])
def test_sizes_of_classes_come_from_labels(tmp_path, monkeypatch, at_once):
    """Of images that lie in no order; the data knows of a class less than the run."""
    monkeypatch.setattr(class_margins, "AT_ONCE", at_once)
    labels = [2, 0, 2, 2, 3, 0, 2]
    write_class_records(tmp_path / "a.rec", [(float(label), b"image") for label in labels], classes=4)
    source = open_source(tmp_path / "a.rec")
    assert class_sizes(source, 5).tolist() == [2, 0, 4, 1, 0]
    with pytest.raises(partialfc.LabelError, match=r"label 3 at .*a\.rec record 5: num_classes is 3"):
        class_sizes(source, 3)


def test_margins_follow_from_the_sizes_of_the_data(folder):
    overrides = ["head.margins_by_size={a: 0.4, b: 0.1}", "data.num_classes=23"]
    trainer = Trainer(small_config(folder, *overrides), torch.device("cpu"))
    trainer.loader.close()
    expected = 0.4 * PER_CLASS**-0.25 + 0.1
    assert trainer.objective.head.class_margins.tolist() == pytest.approx([expected] * 23)


def test_any_number_of_ranks_trains_alike_and_resumes(run_ranks, folder):
    path = folder / "margins.txt"
    np.savetxt(path, MARGINS)
    curves = []
    for parts in ([1], [3], [2, 3]):
        place = moved(folder, "-".join(map(str, parts)))
        config = small_config(place, f"head.class_margins={path}", **EXACT)
        for world_size in parts[:-1]:
            run_ranks(stop_after_seven, world_size, config)
        run_ranks(run, parts[-1], config)
        curves.append(losses(place))
    assert curves[1] == pytest.approx(curves[0], abs=1e-9)
    assert curves[2] == pytest.approx(curves[0], abs=1e-9)
    run(small_config(moved(folder, "none"), **EXACT))
    assert losses(folder / "none") != pytest.approx(curves[0], abs=1e-3)
