"""Written files: a valid config for what it should train, keys and pairs; and inputs of every kind."""

import os
from pathlib import Path

import numpy as np
import pytest

from partialfc.config import load_config
from partialfc.data.images.codec import decode, encode_jpeg
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.pairs.files import read_pairs, write_pairs
from partialfc.data.sources.keys import read_keys
from partialfc.data.sources.pack import pack_source
from partialfc.data.sources.source import open_source
from partialfc.errors import ConfigError, DataError
from partialfc.suggest.asked import Asked
from partialfc.suggest.given import Given
from partialfc.suggest.machine import Machine
from partialfc.suggest.told import command
from partialfc.suggest.verified import verified_on
from partialfc.suggest.write import write_suggestion
from tests.disks import fill, small_disk
from tests.suggest.cases import write_images
from tests.suggest.test_look import Large


def write(folder, images, *overrides, **options):
    """The config that is written, and the lines that say so."""
    asked = Asked((str(images),), folder / "made.yaml", "runs/x", overrides, **options)
    said = write_suggestion(asked)
    return load_config(asked.path), said


def keys(config):
    return [key for _, key in read_keys(config.data.leave_out)]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """60 classes of 4 images: enough to hold classes out."""
    return write_images(tmp_path_factory.mktemp("many") / "faces", 60, 4)


def test_classes_are_held_out_and_verified_on(tmp_path, many):
    config, said = write(tmp_path, many)
    left = open_source(many, leave_out=config.data.leave_out)
    out = open_source(many, only=config.data.leave_out)
    assert (left.num_classes, out.num_classes) == (50, 10)
    assert not set(left.classes) & set(out.classes)
    pairs = read_pairs(config.verification.sets["held_out"])
    assert len(pairs.same) == 2 * 10 * 6
    assert set(pairs.images) == {out.read(index)[0] for index in range(len(out))}
    assert (config.data.channels, config.data.augment.flip) == (1, False)
    assert config.run.dir.as_posix() == "runs/x"
    assert f"{tmp_path}/made.held-out.txt: 10 classes, 40 images, held out for verification" in said


def test_the_same_question_gives_the_same_files_and_another_seed_others(tmp_path, many):
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        write_suggestion(Asked((str(many),), tmp_path / name / "x.yaml", "runs/x", seed=seed))
        made.append([(tmp_path / name / f"x{end}").read_bytes() for end in (".held-out.txt", ".pairs.bin")])
    assert made[0] == made[1]
    assert made[0][0] != made[2][0]


def test_every_key_has_a_reason(tmp_path, many):
    write(tmp_path, many)
    lines = (tmp_path / "made.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  ") and not line.startswith("  #"):
            assert lines[number - 1].startswith("  #"), line


def test_what_is_given_is_kept_and_other_keys_follow(tmp_path, many):
    config, _ = write(
        tmp_path,
        many,
        "train.batch_size=16",
        "train.steps=40",
        "head.margin.name=arcface",
        "metrics.port=null",
    )
    assert (config.train.batch_size, config.train.steps, config.train.epochs) == (16, 40, None)
    assert config.optimizer.lr == pytest.approx(0.2 * 16 / 128, rel=0.1)
    assert (config.schedule.warmup_ratio, config.checkpoint.every_steps) == (0.1, 8)
    assert config.head.margin.name == "arcface"
    assert config.metrics.port is None
    assert "Given when this file was written" in (tmp_path / "made.yaml").read_text()


def test_another_backbone_gets_no_options_of_this_one(tmp_path):
    write_images(tmp_path / "icons", 12, 5, side=(64, 64))
    assert write(tmp_path, tmp_path / "icons")[0].backbone.options
    config, _ = write(tmp_path, tmp_path / "icons", "backbone.name=mobilefacenet", overwrite=True)
    assert (config.backbone.name, config.backbone.options) == ("mobilefacenet", {})


def test_wrong_overrides_are_named(tmp_path, many):
    with pytest.raises(ConfigError, match=r"override 'train.batch_sise=8': .*did you mean train.batch_size"):
        write(tmp_path, many, "train.batch_sise=8")
    assert list(tmp_path.iterdir()) == []


def test_the_images_are_named_once(tmp_path, many):
    with pytest.raises(ConfigError, match=r"override data\.train: the images are those that are named first"):
        write(tmp_path, many, "data.train=others")


def test_what_was_left_out_before_stays_left_out(tmp_path, many):
    mine = tmp_path / "mine.txt"
    mine.write_text("class-000/0.png\nclass-001/2.png\n")
    config, _ = write(tmp_path, many, f"data.leave_out={mine}")
    assert keys(config)[:2] == ["class-000/0.png", "class-001/2.png"]
    assert len(keys(config)) > 40
    assert len(open_source(many, leave_out=config.data.leave_out)) == 240 - len(keys(config))


def test_pairs_of_ones_own_hold_nothing_out(tmp_path, many):
    config, _ = write(tmp_path, many, "verification.sets={mine: mine.bin}")
    assert (config.data.leave_out, list(config.verification.sets)) == (None, ["mine"])


def test_a_rec_with_pairs_beside_it(tmp_path, many):
    pack_source(many, tmp_path / "packed")
    config, _ = write(tmp_path, tmp_path / "packed" / "train.rec")
    assert len(keys(config)) == 40
    assert all(key.isdecimal() for key in keys(config))
    write_pairs(tmp_path / "packed" / "lfw.bin", make_pairs(open_source(many), pairs=20, seed=0))
    (tmp_path / "packed" / "weights.bin").write_bytes(b"no pairs")
    config, said = write(tmp_path, tmp_path / "packed" / "train.rec", overwrite=True)
    assert config.data.leave_out is None
    assert dict(config.verification.sets) == {"lfw": tmp_path / "packed" / "lfw.bin"}
    assert not (tmp_path / "made.held-out.txt").exists(), "of the config that was replaced"
    assert f"verified on {tmp_path}/packed/lfw.bin" in said
    config, _ = write(tmp_path, tmp_path / "packed" / "train.rec", overwrite=True, hold_out=5)
    assert len(keys(config)) == 20


def test_few_classes_hold_images_out(tmp_path):
    config, _ = write(tmp_path, write_images(tmp_path / "two", 2, 10))
    assert len(keys(config)) == 4
    assert len(read_pairs(config.verification.sets["held_out"]).same) == 4
    assert config.verification.folds == 2


def test_one_image_a_class_trains_without_verification(tmp_path):
    config, said = write(tmp_path, write_images(tmp_path / "ones", 30, 1))
    assert config.verification.sets == {}
    assert config.data.leave_out is None
    assert any("no verification: pairs of one class" in line for line in said)


def test_one_class_is_refused(tmp_path):
    write_images(tmp_path / "one", 1, 9)
    with pytest.raises(DataError, match="all 9 images are of one class, so there is nothing to tell apart"):
        write(tmp_path, tmp_path / "one")


def test_no_images_at_all(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no class folder"):
        write(tmp_path, tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        write(tmp_path, tmp_path / "nowhere")


def test_damaged_images_are_told_and_left_out_of_the_pairs(tmp_path, many, caplog):
    images = write_images(tmp_path / "some", 60, 4)
    for path in images.rglob("2.png"):
        path.write_bytes(b"nothing")
    config, said = write(tmp_path, images)
    assert len(read_pairs(config.verification.sets["held_out"]).same) == 2 * 10 * 3
    assert any("cannot be used, such as" in line and "partialfc data check" in line for line in said)
    assert "left out of the pairs" in caplog.text
    with pytest.raises(DataError, match="which would end the training; after partialfc data check"):
        write(tmp_path, images, overwrite=True, sound=True)
    write(tmp_path, images, "data.max_bad_records=100", overwrite=True, sound=True)


def test_large_photos_become_small_pairs(tmp_path):
    images = write_images(tmp_path / "photos", 50, 2, side=(200, 300), channels=3, encode=encode_jpeg)
    config, _ = write(tmp_path, images)
    shapes = {decode(image).shape for image in read_pairs(config.verification.sets["held_out"]).images}
    assert shapes == {(192, 288, 3)}
    assert (config.data.channels, config.data.image_size, config.data.augment.flip) == (3, 48, True)


def test_folders_that_lie_deeper(tmp_path):
    for year in ("2023", "2024"):
        write_images(tmp_path / "albums" / year, 30, 4)
    config, _ = write(tmp_path, tmp_path / "albums", class_depth=2)
    assert config.data.class_depth == 2
    assert keys(config)[0].startswith("2023/class-")


def test_a_depth_of_zero_as_an_override_counts_as_given(tmp_path):
    for folder in ("", "2024"):
        write_images(tmp_path / "mixed" / folder, 30, 4)
    config, said = write(tmp_path, tmp_path / "mixed", "data.class_depth=0")
    assert config.data.class_depth == 0
    assert any("of 60 classes" in line for line in said)


def test_an_existing_file_is_kept_unless_asked(tmp_path, many):
    write(tmp_path, many)
    before = (tmp_path / "made.yaml").read_text()
    with pytest.raises(
        ConfigError, match=r"made\.yaml exists; choose another name with -o, or .*--overwrite"
    ):
        write(tmp_path, many, "train.batch_size=8")
    assert (tmp_path / "made.yaml").read_text() == before
    config, _ = write(tmp_path, many, "train.batch_size=8", overwrite=True)
    assert config.train.batch_size == 8


@pytest.mark.parametrize("leave", [0, 8 << 10])
def test_a_full_disk_leaves_nothing(tmp_path, many, leave):
    with small_disk(tmp_path / "disk") as disk:
        fill(disk, leave=leave)
        with pytest.raises(OSError, match="No space left on device"):
            write(disk, many)
        assert sorted(path.name for path in disk.iterdir()) == ["filler"]


def suggested_there(folder, images, *overrides):
    config, said = write(folder, images, *overrides)
    return config.model_dump(mode="json"), said


def test_on_an_accelerator(on_pretend, tmp_path):
    images = write_images(tmp_path / "faces", 60, 4, side=(80, 80), channels=3)
    config, said = on_pretend(suggested_there, tmp_path, images)
    assert config["backbone"]["name"] == "iresnet18"
    assert config["data"]["image_size"] == 112
    assert config["data"]["workers"] >= 1
    assert any("1 x " in line and line.startswith("this machine") for line in said)
    asked = tmp_path / "cpu"
    asked.mkdir()
    config, said = on_pretend(suggested_there, asked, images, "train.device=cpu")
    assert config["backbone"]["name"] == "convnet"


def test_the_ranks_that_will_train_count(tmp_path, many):
    write(tmp_path, many, ranks=2)
    assert "over all ranks together (2 here)" in (tmp_path / "made.yaml").read_text()


def machine(accelerators):
    return Machine(
        cores=64, accelerators=accelerators, kind="cuda", name="GPU", memory=80 << 30, ranks=accelerators,
        here=accelerators, bfloat16=True, float16=True,
    )  # fmt: skip


def test_several_accelerators_are_started_by_torchrun():
    asked = Asked(("x",), Path("mine.yaml"), "runs/x")
    assert command(asked, machine(8)) == (
        "torchrun --standalone --nproc-per-node 8 -m partialfc train mine.yaml"
    )
    assert command(asked, machine(1)) == "partialfc train mine.yaml"


def test_of_very_many_images_nothing_is_held_out_unless_asked():
    """Labels are not read for it: of ten million classes that takes minutes."""
    asked = Asked(("large.rec",), Path("mine.yaml"), "runs/x")
    verified = verified_on(asked, Given({}), Large(20_000_000, 10_000_000), None, image_size=112)
    assert verified.held is None
    assert "no labels were read" in verified.why


def test_labels_of_pairs_are_those_of_the_classes(tmp_path, many):
    """Genuine pairs are of one class of the source, impostor pairs of two."""
    config, _ = write(tmp_path, many)
    out = open_source(many, only=config.data.leave_out)
    label = dict(out.read(index) for index in range(len(out)))
    pairs = read_pairs(config.verification.sets["held_out"])
    same = [label[a] == label[b] for a, b in zip(pairs.images[::2], pairs.images[1::2], strict=True)]
    assert np.array_equal(same, pairs.same)


def test_several_sources_and_a_text_list(tmp_path, many):
    write_images(tmp_path / "more", 60, 1, first=30)
    (tmp_path / "list.txt").write_text("".join(f"class-000/{n}.png zero\n" for n in range(4)))
    sources = (str(many), str(tmp_path / "more"), str(tmp_path / "list.txt"))
    asked = Asked(sources, tmp_path / "made.yaml", "runs/x", [f"data.root={many}"])
    said = write_suggestion(asked)
    config = load_config(asked.path)
    assert [str(each) for each in config.data.train] == [*sources]
    assert "304 images of 91 classes" in said[0]
    left = open_source(config.data.train, root=config.data.root, leave_out=config.data.leave_out)
    assert len(left) == 304 - len(keys(config))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("there", r"-o is .*/there, a folder; name a file in it, such as .*/there/config\.yaml$"),
        ("x.json", r"-o is .*/x\.json; a config is written as YAML.* such as .*/x\.yaml$"),
        (
            "file/x.yaml",
            r"the folder of the config is '.*/file', but .*/file is no folder; name one elsewhere$",
        ),
        (
            "locked/x/y.yaml",
            r"the folder of the config is '.*/x', but .*/locked takes no file: Permission denied; name",
        ),
    ],
    ids=["folder", "other suffix", "below a file", "locked"],
)
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
def test_a_config_that_cannot_be_written_is_told_first(tmp_path, many, name, says, overwrite):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir(mode=0o500)
    if name.startswith("locked") and os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("root may write everywhere")
    with pytest.raises(ConfigError, match=says):
        write_suggestion(Asked((str(many),), tmp_path / name, "runs/x", overwrite=overwrite))
    assert not any((tmp_path / "there").iterdir())
