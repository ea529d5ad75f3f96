"""Embeddings of a source as a file: rows in its order, gone on with after a kill, images that are broken."""

import json
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from partialfc.data.images.codec import encode_png
from partialfc.data.sources.insightface import write_source
from partialfc.errors import ConfigError, DataError, ImageError
from partialfc.serving.embed import Work, embed_to_file
from partialfc.serving.images import open_images
from partialfc.serving.model import open_model
from partialfc.serving.row_file import npy_header
from tests.data.sources.kinds import KINDS, images
from tests.peak_memory import peak_of
from tests.processes import ENVIRONMENT, call
from tests.serving.cases import CARD, WIDTH, pictures, rows, write_onnx, write_pictures
from tests.serving.kills import Setting, kill_at_each_step
from tests.train_cases import saved_config

ALONE = Work(batch_size=4, workers=0)


@pytest.fixture
def model(tmp_path):
    return open_model(write_onnx(tmp_path / "small.onnx"), threads=1)


def embed(model, folder, output, work=ALONE, **options):
    return embed_to_file(model, open_images([str(folder)]), output, work, **options)


def lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


@pytest.mark.parametrize("classes", [0, 3], ids=["loose", "class-folders"])
def test_rows_are_in_the_order_of_the_source(tmp_path, model, classes):
    pixels = pictures(10)
    keys = write_pictures(tmp_path / "images", pixels, classes=classes)
    assert embed(model, tmp_path / "images", tmp_path / "out.npy") == (10, 0)
    found = np.load(tmp_path / "out.npy")
    assert (found.dtype, found.shape) == (np.float32, (10, WIDTH))
    order = [int(Path(key).stem) for key in keys]
    np.testing.assert_allclose(found, rows(pixels[order]), atol=1e-5)
    names = [key.split("/")[0] if classes else "" for key in keys]
    assert lines(tmp_path / "out.txt") == [list(each) for each in zip(keys, names, strict=True)]
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.npy", "out.txt"]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_source_is_embedded(tmp_path, model, kind):
    opening = kind.build(tmp_path, images())
    paths = opening.path if isinstance(opening.path, list) else [str(opening.path)]
    found = open_images([str(each) for each in paths], **opening.options)
    assert embed_to_file(model, found, tmp_path / "out.npy", ALONE) == (9, 0)
    names = [name for _, name in lines(tmp_path / "out.txt")]
    ids = found.source.class_ids().tolist()
    assert names == [("ant", "bee", "cat")[each] if kind.named else str(each) for each in ids]
    assert [key for key, _ in lines(tmp_path / "out.txt")] == [*found.source.each_key()]


def test_parquet_has_keys_classes_embeddings_and_the_card(tmp_path, model):
    keys = write_pictures(tmp_path / "images", pictures(6), classes=2)
    embed(model, tmp_path / "images", tmp_path / "out.npy")
    embed(model, tmp_path / "images", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("key").to_pylist() == keys
    assert table.column("class").to_pylist() == [key.split("/")[0] for key in keys]
    stored = np.array(table.column("embedding").to_pylist(), np.float32)
    assert np.array_equal(stored, np.load(tmp_path / "out.npy"))
    assert json.loads(table.schema.metadata[b"partialfc"])["name"] == CARD.name
    embed_to_file(
        model, open_images([str(tmp_path / "images/class0/000.png")]), tmp_path / "one.parquet", ALONE
    )
    assert pq.read_table(tmp_path / "one.parquet").column_names == ["key", "embedding"]


def test_workers_change_no_bit(tmp_path, model):
    write_pictures(tmp_path / "images", pictures(23))
    embed(model, tmp_path / "images", tmp_path / "alone.npy")
    embed(model, tmp_path / "images", tmp_path / "shared.npy", Work(batch_size=4, workers=2))
    assert (tmp_path / "alone.npy").read_bytes() == (tmp_path / "shared.npy").read_bytes()


def killed_embedding(folder: str, suffix: str) -> Setting:
    """For kill_at_each_step: each time gone on with, and at last looked at."""
    where = Path(folder)
    output = where / f"killed{suffix}"

    def act(time: int) -> None:
        model = open_model(where / "small.onnx", threads=1)
        work = Work(batch_size=1, workers=0)
        with suppress(ConfigError):  # where it exists already: all but the last step was done
            embed(model, where / "images", output, work, skip_bad=where / "bad.txt")

    return Setting(where="killed", act=act, look=lambda time: output.exists())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_a_kill_at_any_moment_changes_no_bit(tmp_path, model, suffix):
    """Killed where it opens, renames or deletes a file, each time a step further, until it is through."""
    write_pictures(tmp_path / "images", pictures(20))
    (tmp_path / "images/004.png").write_bytes(b"no image")
    calm, killed = tmp_path / f"calm{suffix}", tmp_path / f"killed{suffix}"
    embed(model, tmp_path / "images", calm, Work(batch_size=1, workers=0), skip_bad=tmp_path / "calm.bad")
    looked = kill_at_each_step(f"{__name__}.killed_embedding", tmp_path, suffix, cwd=tmp_path)
    assert len(looked) > 5
    assert killed.read_bytes() == calm.read_bytes()
    if suffix == ".npy":
        assert killed.with_suffix(".txt").read_bytes() == calm.with_suffix(".txt").read_bytes()
    assert (tmp_path / "bad.txt").read_bytes() == (tmp_path / "calm.bad").read_bytes()
    assert not [*tmp_path.glob("*.partial*")]


class Stopped(Exception):
    """In place of a kill, which a test of what is refused does not need."""


def begun(model, folder, output, *, at: int, work=ALONE, **options):
    """An embedding that stopped when `at` images were done, all of them saved."""

    def stop(stage: str, done: int, total: int) -> None:
        if done >= at:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partialfc.serving.embed.SAVE_EVERY", 1)
        with pytest.raises(Stopped):
            embed(model, folder, output, work, progress=stop, **options)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param("model", "was begun with another model; go on with that one", id="model"),
        pytest.param("source", "was begun with another source", id="source"),
        pytest.param("batch", "was begun with another batch_size, 4 then and 5 now", id="batch-size"),
        pytest.param("pixels", "was begun with another max_pixels", id="max-pixels"),
    ],
)
def test_another_model_source_or_option_is_refused(tmp_path, model, change, says):
    write_pictures(tmp_path / "images", pictures(10))
    output = tmp_path / "out.npy"
    begun(model, tmp_path / "images", output, at=8)
    work = ALONE
    if change == "model":
        model = open_model(write_onnx(tmp_path / "other.onnx", replace(CARD, weights="cd" * 32)))
    elif change == "source":
        (tmp_path / "images/010.png").write_bytes(encode_png(pictures(1)[0]))
    else:
        work = replace(ALONE, **({"batch_size": 5} if change == "batch" else {"max_pixels": 999}))
    with pytest.raises(ConfigError, match=says):
        embed(model, tmp_path / "images", output, work)
    embed(model, tmp_path / "images", output, work, overwrite=True)
    assert len(np.load(output)) == 10 + (change == "source")


def test_a_changed_record_file_is_another_source(tmp_path, model):
    path = KINDS["records"].build(tmp_path, images()).path
    begun(model, path, tmp_path / "out.npy", at=4)
    KINDS["records"].build(tmp_path / "new", images(each=3)).path.replace(path)
    os.utime(path, (1, 1))
    with pytest.raises(ConfigError, match="another source"):
        embed(model, path, tmp_path / "out.npy")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_images_that_were_embedded_and_changed_since_are_noticed(tmp_path, model, kind):
    """In a folder of tar shards, of parquet or of images, too, which says nothing of what they hold."""
    opening = kind.build(tmp_path / "source", images())
    paths = [str(each) for each in (opening.path if isinstance(opening.path, list) else [opening.path])]

    def go_on(**options) -> None:
        embed_to_file(model, open_images(paths, **opening.options), tmp_path / "out.npy", ALONE, **options)

    def stop(stage: str, done: int, total: int) -> None:
        if done >= 8:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partialfc.serving.embed.SAVE_EVERY", 1)
        with pytest.raises(Stopped):
            go_on(progress=stop)
    for path in (tmp_path / "source").rglob("*.*"):
        os.utime(path, (1, 1))
    with pytest.raises(ConfigError, match=r"some were changed since; begin anew|with another source"):
        go_on()
    go_on(overwrite=True)
    assert len(np.load(tmp_path / "out.npy")) == 9


def test_an_image_that_was_not_embedded_yet_may_change(tmp_path, model):
    pixels = pictures(10)
    keys = write_pictures(tmp_path / "images", pixels)
    begun(model, tmp_path / "images", tmp_path / "out.npy", at=8)
    (tmp_path / "images" / keys[9]).write_bytes(encode_png(pixels[0]))
    assert embed(model, tmp_path / "images", tmp_path / "out.npy") == (10, 0)
    found = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(found[9], found[0], atol=1e-6)


def test_a_broken_image_is_named_and_may_be_skipped(tmp_path, model):
    pixels = pictures(9)
    keys = write_pictures(tmp_path / "images", pixels)
    for number in (3, 8):
        (tmp_path / "images" / keys[number]).write_bytes(b"no image")
    output, bad = tmp_path / "out.npy", tmp_path / "bad.txt"
    with pytest.raises(ImageError, match=r"images/003\.png: no JPEG(.|\n)*--skip-bad FILE"):
        embed(model, tmp_path / "images", output)
    assert embed(model, tmp_path / "images", output, skip_bad=bad) == (7, 2)
    assert [key for key, _ in lines(bad)] == [keys[3], keys[8]]
    assert "no JPEG" in lines(bad)[0][1]
    kept = [number for number in range(9) if number not in (3, 8)]
    np.testing.assert_allclose(np.load(output), rows(pixels[kept]), atol=1e-5)
    assert [key for key, _ in lines(tmp_path / "out.txt")] == [keys[number] for number in kept]


def test_images_that_were_skipped_before_are_not_forgotten(tmp_path, model):
    keys = write_pictures(tmp_path / "images", pictures(12))
    (tmp_path / "images" / keys[1]).write_bytes(b"")
    output, bad = tmp_path / "out.npy", tmp_path / "bad.txt"
    begun(model, tmp_path / "images", output, at=8, skip_bad=bad)
    with pytest.raises(ConfigError, match="begun with --skip-bad, and 1 images were skipped"):
        embed(model, tmp_path / "images", output)
    assert embed(model, tmp_path / "images", output, skip_bad=bad) == (11, 1)
    assert [key for key, _ in lines(bad)] == [keys[1]]


def test_when_no_image_can_be_decoded_there_are_no_rows(tmp_path, model):
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(b"no image")
    opened = open_images([str(tmp_path / "a.png"), str(tmp_path / "b.png")])
    for suffix in (".npy", ".parquet"):
        found = embed_to_file(model, opened, tmp_path / f"out{suffix}", ALONE, skip_bad=tmp_path / "bad.txt")
        assert found == (0, 2)
    assert np.load(tmp_path / "out.npy").shape == (0, WIDTH)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_what_is_there_already_is_kept_unless_asked(tmp_path, model):
    write_pictures(tmp_path / "images", pictures(4))
    (tmp_path / "out.npy").write_text("mine")
    with pytest.raises(ConfigError, match=r"out\.npy: exists already; .*--overwrite"):
        embed(model, tmp_path / "images", tmp_path / "out.npy")
    assert (tmp_path / "out.npy").read_text() == "mine"
    embed(model, tmp_path / "images", tmp_path / "out.npy", overwrite=True)
    assert len(np.load(tmp_path / "out.npy")) == 4
    with pytest.raises(ConfigError, match=r"must end with \.npy or \.parquet"):
        embed(model, tmp_path / "images", tmp_path / "out.csv")


def test_a_file_of_mine_is_not_where_the_keys_go(tmp_path, model):
    write_pictures(tmp_path / "images", pictures(4))
    (tmp_path / "out.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"out\.txt: exists already, and the keys of .*out\.npy go there"):
        embed(model, tmp_path / "images", tmp_path / "out.npy")
    assert (tmp_path / "out.txt").read_text() == "mine"
    assert not [*tmp_path.glob("out.npy*")]
    embed(model, tmp_path / "images", tmp_path / "out.npy", overwrite=True)
    assert len(lines(tmp_path / "out.txt")) == 4


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path, suffix):
    """Four times as many rows of 8 kB, which would be 46 MB more."""
    card = replace(CARD, image_size=4, embedding_size=2048)
    model = open_model(write_onnx(tmp_path / "wide.onnx", card), threads=1)
    pngs = [encode_png(each) for each in pictures(8000, card)]
    peaks = []
    for count in (200, 2000, 8000):  # the first one for what is there once
        source = tmp_path / f"{count}" / "train.rec"
        source.parent.mkdir()
        write_source(
            source, zip(pngs[:count], range(count), strict=True), num_classes=count, image_size=(4, 4)
        )
        output = tmp_path / f"{count}{suffix}"
        pa.default_memory_pool().release_unused()
        peaks.append(peak_of(partial(embed, model, source, output, Work(batch_size=64, workers=0))))
        assert output.stat().st_size > count * 2048 * 3
    assert peaks[2] - peaks[1] < 12 << 20, peaks


@pytest.mark.parametrize("overwrite", [False, True], ids=["goes-on", "overwrites"])
def test_two_processes_do_not_write_one_file(tmp_path, model, overwrite):
    """The one that is refused leaves the other what it goes on from, should that be killed."""
    write_pictures(tmp_path / "images", pictures(8))
    output = tmp_path / "out.npy"
    begun(model, tmp_path / "images", output, at=4)

    def another(stage: str, done: int, total: int) -> None:
        with pytest.raises(ConfigError, match="another process is writing it"):
            embed(model, tmp_path / "images", output, overwrite=overwrite)
        assert (tmp_path / "out.npy.partial.json").exists()

    embed(model, tmp_path / "images", output, progress=another)


@pytest.mark.parametrize("text", ["{", "[]", '{"written": {"images": 1, "rows": 2, "bad": []}}', "{}"])
def test_a_damaged_journal_is_named(tmp_path, model, text):
    write_pictures(tmp_path / "images", pictures(4))
    (tmp_path / "out.npy.partial.json").write_text(text)
    with pytest.raises(DataError, match=r"out\.npy\.partial\.json: is damaged"):
        embed(model, tmp_path / "images", tmp_path / "out.npy")


def test_rows_that_are_lost_are_told(tmp_path, model):
    write_pictures(tmp_path / "images", pictures(8))
    begun(model, tmp_path / "images", tmp_path / "out.npy", at=4)
    (tmp_path / "out.npy.partial").write_bytes(b"")
    with pytest.raises(DataError, match=r"out\.npy\.partial: is shorter"):
        embed(model, tmp_path / "images", tmp_path / "out.npy")


@pytest.mark.parametrize("shape", [(0, 1), (1, 512), (10**12, 10**6)])
def test_the_header_is_numpys(tmp_path, shape):
    header = npy_header(*shape)
    assert len(header) == 128
    (tmp_path / "x.npy").write_bytes(header)
    with (tmp_path / "x.npy").open("rb") as file:
        np.lib.format.read_magic(file)
        found = np.lib.format.read_array_header_1_0(file)
    assert found == (shape, False, np.dtype("<f4"))


def test_the_command_gives_the_rows_of_evaluate(tmp_path):
    """Of a run, from its .rec, as `evaluate` embeds them."""
    import torch

    from partialfc.data.sources.source import open_source
    from partialfc.evaluation.embed import embed
    from partialfc.trained import load_trained

    trust = "tests.train_cases"
    done = call("train", saved_config(tmp_path, "train.steps=2", "schedule.warmup_steps=0"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    source = open_source(tmp_path / "train.rec")
    made = call("embed", tmp_path / "run", tmp_path / "train.rec", "-o", tmp_path / "a.npy", "--trust", trust)
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"{tmp_path}/a.npy: {len(source)} embeddings of 16 numbers\n"
    trained = load_trained(tmp_path / "run", trust=[trust])
    found = embed(
        trained.backbone,
        [source.read(index)[0] for index in range(len(source))],
        image_size=trained.image_size,
        channels=trained.channels,
        device=torch.device("cpu"),
    )
    expected = torch.nn.functional.normalize(found).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), expected, atol=1e-5)
    assert [int(label) for _, label in lines(tmp_path / "a.txt")] == source.class_ids().tolist()


def test_the_command_says_what_is_wrong_in_a_line(tmp_path):
    model = write_onnx(tmp_path / "small.onnx")
    write_pictures(tmp_path / "images", pictures(2))
    several = {**ENVIRONMENT, "RANK": "1", "WORLD_SIZE": "2"}
    refused = call("embed", model, tmp_path / "images", "-o", tmp_path / "a.npy", environment=several)
    assert refused.returncode == 1
    assert "partialfc embed is one process, not several of torchrun" in refused.stderr
    assert "for several GPUs start it once for each, with a part of the images: " in refused.stderr
    refused = call("embed", model, tmp_path / "images", "-o", tmp_path / "no/a.npy")
    assert "--output is " in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
