"""What holds for every kind of source."""

import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from partialfc.data.images.augmentation import Augment
from partialfc.data.loading.plain import build_loader
from partialfc.data.loading.transforms import ToEncoded
from partialfc.data.loading.workers import WorkerLoader
from partialfc.data.pairs.draw import make_pairs
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.pack import pack_source
from partialfc.data.sources.source import open_source
from partialfc.doctor import Level
from partialfc.doctor.data import check_records, check_source
from partialfc.doctor.labels import read_labels
from partialfc.errors import DataError, ImageError
from tests.data.sources.kinds import KINDS, NAMES, Kind, images


def every_kind(that: Callable[[Kind], bool] = lambda kind: True) -> pytest.MarkDecorator:
    found = [pytest.param(kind, id=name) for name, kind in KINDS.items() if that(kind)]
    return pytest.mark.parametrize("kind", found)


def content(source: Labelled) -> list[tuple[str, bytes, int]]:
    return [(source.key(index), *source.read(index)) for index in range(len(source))]


@every_kind()
def test_it_holds_the_images_with_the_ids_and_names_of_their_classes(kind: Kind, tmp_path: Path) -> None:
    source = kind.build(tmp_path, images()).open()
    found = [source.read(index) for index in range(len(source))]
    assert Counter((NAMES[label], data) for data, label in found) == Counter(images())
    assert source.classes == ([*NAMES] if kind.named else None)
    assert source.num_classes == source.least_classes == 3
    assert source.empty_classes == 0
    labels = [label for _, label in found]
    assert [source.class_id(index) for index in range(len(source))] == labels
    assert source.class_ids().tolist() == labels
    assert np.issubdtype(source.class_ids().dtype, np.signedinteger)
    for beyond in (-1, len(source)):
        for ask in (source.read, source.class_id, source.key, source.name, source.state):
            with pytest.raises(IndexError, match=f"index {beyond} of "):
                ask(beyond)


@every_kind()
def test_keys_are_unique_and_stay_when_the_source_is_moved(kind: Kind, tmp_path: Path) -> None:
    opening = kind.build(tmp_path / "here", images())
    source = opening.open()
    keys = [source.key(index) for index in range(len(source))]
    assert len({*keys}) == len(keys)
    assert [*source.each_key()] == keys
    assert not any(set(key) & {"\t", "\n", "\r"} for key in keys)
    assert len({source.name(index) for index in range(len(source))}) == len(keys)
    shutil.rmtree(tmp_path / "here")
    again = kind.build(tmp_path / "there", images()).open()
    assert [*again.each_key()] == keys


@every_kind()
def test_it_is_the_same_in_a_pickle(kind: Kind, tmp_path: Path) -> None:
    source = kind.build(tmp_path, images()).open()
    assert content(pickle.loads(pickle.dumps(source))) == content(source)


@every_kind(lambda kind: kind.named and not kind.own_ids)
def test_classes_keep_the_ids_of_an_earlier_run(kind: Kind, tmp_path: Path) -> None:
    opening = kind.build(tmp_path, images())
    earlier = opening.open(classes=["cat", "dog", "bee", "ant"])
    assert earlier.classes == ["cat", "dog", "bee", "ant"]
    assert earlier.num_classes == 4
    assert Counter(earlier.class_ids().tolist()) == {0: 3, 2: 3, 3: 3}
    with pytest.raises(DataError, match="not among the 2 known classes"):
        opening.open(classes=["cat", "bee"])


@every_kind()
def test_it_takes_little_memory_per_image(kind: Kind, tmp_path: Path) -> None:
    """Of which a pickle holds as much as a worker process does, but for a folder's names as Python's text."""
    few, many = (
        len(pickle.dumps(kind.build(tmp_path / str(each), images(each)).open())) for each in (3, 203)
    )
    assert (many - few) / 600 < 50


@every_kind()
def test_the_order_is_that_of_the_seed_for_any_number_of_ranks_and_workers(
    kind: Kind, tmp_path: Path
) -> None:
    source = kind.build(tmp_path, images()).open()
    alone = batches(source)
    for world_size in (2, 3):
        assert torch.equal(batches(source, world_size), alone)
    assert torch.equal(batches(source, workers=1), alone)
    assert torch.equal(batches(source, 2, start=2), alone[2:])


def batches(
    source: Labelled, world_size: int = 1, *, start: int = 0, workers: int = 0, max_bad_records: int = 0
) -> torch.Tensor:
    """Four batches of 4 over all ranks, label and pixels, from the batch `start` on."""
    parts = []
    for rank in range(world_size):
        loader = build_loader(
            source,
            global_batch=4,
            rank=rank,
            world_size=world_size,
            seed=3,
            position=4 * start,
            image_size=8,
            channels=3,
            augment=Augment(flip=True, shift=0.1),
            workers=workers,
            max_bad_records=max_bad_records,
        )
        with loader:
            found = [next(loader) for _ in range(start, 4)]
        rows = [torch.cat([labels[:, None], pixels.flatten(1)], dim=1) for pixels, labels in found]
        parts.append(torch.stack(rows))
    return torch.cat(parts, dim=1)


@every_kind()
def test_dalis_loader_gets_the_encoded_images(kind: Kind, tmp_path: Path) -> None:
    source = kind.build(tmp_path, images()).open()
    how = {"image_size": 8, "channels": 3, "augment": Augment(), "seed": 3, "max_pixels": 1000}
    encoded = WorkerLoader(
        source,
        ToEncoded(**how),
        global_batch=9,
        rank=0,
        world_size=1,
        seed=3,
        position=0,
        workers=0,
        pin_memory=False,
        max_bad_records=0,
        timeout_seconds=60,
    )
    batch, labels = next(encoded)
    data = np.split(batch.data.numpy(), batch.sizes.cumsum(0)[:-1].numpy())
    assert Counter(
        (NAMES[label], one.tobytes()) for one, label in zip(data, labels.tolist(), strict=True)
    ) == Counter(images())


@every_kind()
def test_a_bad_image_is_named_and_may_be_replaced(kind: Kind, tmp_path: Path) -> None:
    good = images()
    bad = (good[4][0], good[4][1][:-9])
    source = kind.build(tmp_path, [*good[:4], bad, *good[5:]]).open()
    at = next(index for index in range(len(source)) if source.read(index)[0] == bad[1])
    with pytest.raises(ImageError) as error:
        batches(source)
    assert source.name(at) in str(error.value)
    assert len(batches(source, max_bad_records=1)) == 4


@every_kind(lambda kind: kind is not KINDS["selection"])
def test_images_may_be_left_out_and_a_class_without_any_has_no_id(kind: Kind, tmp_path: Path) -> None:
    opening = kind.build(tmp_path, images())
    whole = opening.open()
    keys = [whole.key(index) for index in range(len(whole)) if whole.class_id(index) == 1]
    (tmp_path / "bees.txt").write_text("".join(f"{key}\n" for key in keys))
    rest = opening.open(leave_out=tmp_path / "bees.txt")
    assert rest.classes == (["ant", "cat"] if kind.named else ["0", "2"])
    assert Counter(rest.class_ids().tolist()) == {0: 3, 1: 3}
    only = opening.open(only=tmp_path / "bees.txt")
    assert [only.key(index) for index in range(len(only))] == keys
    assert {label for *_, label in content(only)} == {0}


@every_kind()
def test_it_is_packed_with_its_ids_and_names_and_gives_pairs(kind: Kind, tmp_path: Path) -> None:
    opening = kind.build(tmp_path / "in", images())
    pack_source(opening.path, tmp_path / "out", **opening.options)
    packed = open_source(tmp_path / "out/train.rec")
    found = [packed.read(index) for index in range(len(packed))]
    assert Counter((NAMES[label], data) for data, label in found) == Counter(images())
    assert packed.classes == ([*NAMES] if kind.named else ["0", "1", "2"])
    assert len(make_pairs(opening.open(), pairs=6, seed=0).same) == 6


@every_kind(lambda kind: kind.file is not None)
def test_a_file_that_is_cut_short_is_named(kind: Kind, tmp_path: Path) -> None:
    assert kind.file is not None
    opening = kind.build(tmp_path, images())
    path = tmp_path / kind.file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 5])
    with pytest.raises(DataError, match=path.name):
        content(opening.open())


@every_kind()
def test_the_doctor_finds_nothing_wrong(kind: Kind, tmp_path: Path) -> None:
    opening = kind.build(tmp_path, images())
    check, source = check_source([opening.path], opening.open)
    assert source is not None
    assert check.level != Level.RED
    assert f"{source.origin}: 9 images of 3 classes" in check.says
    records = check_records(source, channels=3, max_pixels=10_000, allowed=0, seconds=60)
    assert records.level == Level.GREEN
    labels = read_labels(source, seconds=60)
    assert labels.labels.tolist() == source.class_ids().tolist()
