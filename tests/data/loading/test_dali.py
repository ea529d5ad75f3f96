"""DALI's loader beside the plain one: the same samples in the same order, pixels alike, errors by name."""

import io
import struct
import sys
import zlib
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partialfc.data.images.augmentation import Augment
from partialfc.data.images.codec import encode_png
from partialfc.data.loading.dali import DaliLoader, build_dali_loader
from partialfc.data.loading.dali_package import extra
from partialfc.data.loading.identities import Identities
from partialfc.data.loading.loader import Batch, Loader
from partialfc.data.loading.plain import build_loader
from partialfc.data.loading.workers import WorkerLoader
from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.source import Source
from partialfc.errors import ConfigError, ImageError, LabelError, MissingExtraError
from partialfc.metrics.run_log import read_metrics
from partialfc.training.builders.data import build_loader_from
from partialfc.training.run import train
from tests import train_cases
from tests.data.images.scene import scene
from tests.data.loading.cases import Pictures, Trouble, joined, take
from tests.devices import on_cuda_alone
from tests.paths import MXNET
from tests.train_cases import small_config

FIXTURE = MXNET / "train.rec"
CPU = torch.device("cpu")
VARIED = Augment(flip=True, shift=0.1, scale=0.1, rotate=15)

needs_dali = pytest.mark.skipif(
    find_spec("nvidia") is None or find_spec("nvidia.dali") is None,
    reason=f"NVIDIA DALI is not installed: pip install 'partialfc[{extra()}]'",
)

pytestmark = pytest.mark.usefixtures("quick_workers")


@pytest.fixture(scope="module")
def faces() -> RecordSource:
    """128 JPEGs of 112 x 112, 16 classes, as MXNet packs them."""
    return RecordSource(FIXTURE)


def options(**changes: Any) -> dict[str, Any]:
    return {"global_batch": 24, "seed": 3, "image_size": 112, "channels": 3, "augment": VARIED} | changes


def small(**changes: Any) -> dict[str, Any]:
    """For pictures 12 pixels wide; with seed 2 the second batch holds pictures 6 and 7."""
    usual = {"global_batch": 4, "seed": 2, "image_size": 12, "channels": 1, "augment": Augment()}
    return options(**usual | changes)


def dali(source: Source, device: torch.device = CPU, **changes: Any) -> Loader:
    return build_dali_loader(source, device=device, **options(**changes))


def difference(left: Batch, right: Batch) -> torch.Tensor:
    """Of the pixels; the labels must be equal."""
    assert left[0].dtype == right[0].dtype == torch.uint8
    assert left[1].dtype == right[1].dtype == torch.int64
    assert torch.equal(left[1], right[1])
    return (left[0].int() - right[0].cpu().int()).abs().float()


@needs_dali
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("augment", "image_size", "largest", "mean"),
    [
        pytest.param(Augment(), 112, 0, 0, id="decoding is exact"),
        pytest.param(VARIED, 112, 1, 0.002, id="moving rounds"),
        pytest.param(replace(VARIED, fill=7), 112, 1, 0.002, id="a fixed fill rounds"),
        pytest.param(
            Augment(brightness=0.4, contrast=0.4, saturation=0.5), 112, 1, 0.3, id="recolouring rounds"
        ),
        pytest.param(VARIED, 160, 2, 0.1, id="enlarging rounds"),
        pytest.param(VARIED, 64, 80, 1, id="shrinking filters otherwise"),
        pytest.param(Augment(low_resolution=0.5), 112, 80, 1, id="so does low resolution"),
    ],
)
def test_pixels_are_those_of_the_plain_loader(faces, augment, image_size, channels, largest, mean):
    changes = options(augment=augment, image_size=image_size, channels=channels)
    with dali(faces, **changes) as loader:
        off = difference(joined(take(build_loader(faces, **changes), 2)), joined(take(loader, 2)))
    assert off.shape == (48, channels, image_size, image_size)
    assert off.max() <= largest
    assert off.mean() <= mean


@needs_dali
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["BMP", "WEBP", "PPM", "TOP-DOWN", "GREY", "16 BIT", "TEXT"])
def test_other_formats_are_decoded_alike(kind, channels):
    """So that a run may change its loader with any of them."""
    picture = Image.fromarray(scene())
    file = io.BytesIO()
    match kind:
        case "GREY":
            picture.convert("L").save(file, "PPM")
        case "16 BIT":
            file.write(b"P5 48 48 65535\n" + (scene(1).astype(">u2") * 257).tobytes())
        case "TEXT":
            file.write(b"P2 48 48 255\n" + b" ".join(b"%d" % value for value in scene(1).ravel()) + b"\n")
        case "TOP-DOWN":
            picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(file, "BMP")
            file.seek(22)
            file.write(struct.pack("<i", -48))
        case _:
            picture.save(file, kind)
    source = Pictures([file.getvalue()] * 4)
    changes = options(global_batch=4, image_size=48, channels=channels, augment=Augment())
    with dali(source, **changes) as loader:
        off = difference(next(build_loader(source, **changes)), next(loader))
    assert off.max() == 0


@pytest.fixture(scope="module")
def reference(faces: RecordSource) -> list[Batch]:
    """By the plain loader: nine batches of 24 out of 128 images, so that the sixth straddles two epochs."""
    return take(build_loader(faces, **options()), 9)


@needs_dali
@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 0), (2, 1)])
def test_ranks_and_workers_give_the_plain_loaders_order_across_an_epochs_end(
    faces, reference, world_size, workers
):
    parts = []
    for rank in range(world_size):
        with dali(faces, rank=rank, world_size=world_size, workers=workers) as loader:
            parts.append(take(loader, 9))
    for expected, ranks in zip(reference, zip(*parts, strict=True), strict=True):
        assert difference(expected, joined(list(ranks))).max() <= 1


@needs_dali
def test_batches_of_identities_are_the_plain_loaders(faces):
    changes = {"order": Identities(faces.class_ids(), global_batch=24, images_per_identity=4, seed=3)}
    expected = take(build_loader(faces, **options(**changes)), 3)
    with dali(faces, **changes) as loader:
        for batch, found in zip(expected, take(loader, 3), strict=True):
            assert difference(batch, found).max() <= 1
            assert sorted(np.bincount(found[1], minlength=16)) == [0] * 10 + [4] * 6


@needs_dali
def test_a_stop_in_mid_epoch_resumes_on_another_number_of_ranks_and_in_the_other_loader(faces, reference):
    parts = []
    for rank in range(2):
        with dali(faces, rank=rank, world_size=2) as loader:
            parts.append(take(loader, 3))
            state = loader.state_dict()
            assert state == {"position": 72}
    for batch, ranks in zip(reference, zip(*parts, strict=True), strict=False):
        assert difference(batch, joined(list(ranks))).max() <= 1
    with dali(faces) as loader:
        loader.load_state_dict(state)
        assert loader.position == 72
        for expected, batch in zip(reference[3:], take(loader, 6), strict=True):
            assert difference(expected, batch).max() <= 1
        state = loader.state_dict()
    plain = build_loader(faces, **options())
    plain.load_state_dict(state)
    through = take(build_loader(faces, **options()), 10)[9]
    assert torch.equal(next(plain)[0], through[0])


@needs_dali
def test_what_is_read_ahead_counts_as_queued_and_not_as_handed_out(faces, reference):
    with dali(faces, workers=1) as loader:
        assert (loader.position, loader.queued) == (0, 0)
        first = next(loader)
        assert loader.position == 24
        assert loader.queued >= 1, "one in DALI's hands"
        next(loader)
        loader.load_state_dict({"position": 24})
        assert loader.queued == 0
        assert difference(reference[1], next(loader)).max() <= 1
    assert difference(reference[0], first).max() <= 1, "what was handed out outlives the loader"


@needs_dali
@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_stays_as_it_is_while_later_ones_are_decoded(faces, workers):
    """The micro-batches of a step share no memory, however many there are; what is dropped may be reused."""
    with dali(faces, workers=workers) as loader:
        for _ in range(3):
            held = [(images, images.clone()) for images, _ in take(loader, 6)]
            assert len({images.untyped_storage().data_ptr() for images, _ in held}) == 6
            assert all(torch.equal(images, as_handed_out) for images, as_handed_out in held)


@needs_dali
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("kind", "expected"), [("image", ImageError), ("label", LabelError)], ids=["image", "label"]
)
def test_a_bad_sample_gets_the_plain_loaders_error_when_its_batch_is_due(pictures, workers, kind, expected):
    source = Trouble(pictures.images, bad=6, kind=kind, label=5)
    failures = []
    for loader in (build_loader(source, **small()), dali(source, **small(workers=workers))):
        with loader, pytest.raises(expected, match=r"pictures/6\.png") as caught:
            take(loader, 100)
        failures.append((str(caught.value), loader.position))
        with loader, pytest.raises(expected):
            next(loader)
    assert failures[0] == failures[1]
    assert failures[0][1] > 0, "batches came before it"


def unreadable_png() -> bytes:
    """A PNG whose checksums are right and whose compressed stream is not."""
    data = encode_png(np.random.default_rng(0).integers(0, 256, (12, 12, 1), np.uint8))
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    body = bytearray(data[start : start + 4 + length])
    body[-1] ^= 0xFF  # of zlib's own checksum
    return data[:start] + body + struct.pack(">I", zlib.crc32(body)) + data[start + 8 + length :]


@needs_dali
def test_what_only_dali_refuses_is_named_too(pictures):
    images = list(pictures.images)
    images[6] = unreadable_png()
    plain = build_loader(Pictures(images), **small())
    with pytest.raises(ImageError):
        take(plain, 100)
    with dali(Pictures(images), **small()) as loader:
        with pytest.raises(ImageError, match=r"^pictures/6\.png: NVIDIA DALI cannot decode it"):
            take(loader, 100)
        assert loader.position == plain.position > 0


@needs_dali
def test_bad_records_are_replaced_as_in_the_plain_loader(pictures):
    images = list(pictures.images)
    images[6] = images[7] = b"not an image"
    plain = build_loader(Pictures(images), **small(max_bad_records=2))
    expected = take(plain, 6)
    with dali(Pictures(images), **small(max_bad_records=2)) as loader:
        for left, right in zip(expected, take(loader, 6), strict=True):
            assert difference(left, right).max() == 0
        assert loader.bad_records == plain.bad_records == 2
    with (
        dali(Pictures(images), **small(max_bad_records=1)) as loader,
        pytest.raises(ImageError, match="max_bad_records is 1"),
    ):
        take(loader, 6)


def test_a_missing_extra_is_named(pictures, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'partialfc\[dali-cuda1[23]\]'"):
        dali(pictures, **small())


@needs_dali
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 0}, "image_size is 0: it must be 1 or more"),
        ({"channels": 2}, r"channels is 2: it must be 1 \(grey\) or 3 \(RGB\)"),
        ({"workers": -1}, "workers is -1"),
        ({"global_batch": 2, "world_size": 3}, "global_batch is 2, world_size is 3"),
    ],
)
def test_bad_arguments_are_named(pictures, changes, message):
    with pytest.raises(ConfigError, match=message):
        dali(pictures, **small(**changes))


@needs_dali
@pytest.mark.parametrize(
    ("asked", "kind"), [("auto", WorkerLoader), ("plain", WorkerLoader), ("dali", DaliLoader)]
)
def test_without_a_gpu_dali_is_taken_only_if_asked_for(tmp_path, asked, kind):
    train_cases.write_data(tmp_path)
    config = small_config(tmp_path, data={"loader": asked})
    source = RecordSource(tmp_path / "train.rec")
    options = {
        "num_classes": 20,
        "batch_size": config.train.batch_size,
        "seed": 0,
        "rank": 0,
        "world_size": 1,
        "position": 0,
    }
    with build_loader_from(config.data, source, torch.device("cpu"), **options) as loader:
        assert type(loader) is kind


@needs_dali
def test_two_processes_train_from_dali_bit_for_bit_as_from_the_plain_loader(run_ranks, tmp_path):
    """Without augmentation pixels are equal, so losses are; two stop in mid-epoch and one goes on."""
    train_cases.write_data(tmp_path)
    losses = {}
    for loader in ("plain", "dali"):
        folder = tmp_path / loader
        folder.mkdir()
        for file in ("train.rec", "train.idx", "property"):
            (folder / file).symlink_to(tmp_path / file)
        sections: dict[str, Any] = {"data": {"loader": loader}}
        for world_size, steps in ((2, 7), (1, 12)):
            schedule = {"name": "constant"}
            config = small_config(folder, schedule=schedule, train={"steps": steps}, **sections)
            run_ranks(train, world_size, config)
        records = read_metrics(folder / "run")
        losses[loader] = [record["loss"] for record in records if record["event"] == "train"]
    assert len(losses["dali"]) == 12
    assert losses["dali"] == losses["plain"]


@needs_dali
@pytest.mark.gpu
@on_cuda_alone
@pytest.mark.parametrize(
    "augment", [Augment(), VARIED, Augment(brightness=0.4, contrast=0.4, saturation=0.5, low_resolution=0.5)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gpu_decodes_to_within_the_decoders_difference(faces, augment, channels):
    if augment != Augment():
        pytest.importorskip("cv2")  # the plain loader's augmentation
    changes = options(augment=augment, channels=channels)
    device = torch.device("cuda", torch.cuda.current_device())
    with dali(faces, device, workers=2, **changes) as loader:
        batches = take(loader, 6)
        assert all(images.device == device for images, _ in batches)
        for expected, batch in zip(take(build_loader(faces, **changes), 6), batches, strict=True):
            assert difference(expected, batch).mean() <= 2


@needs_dali
@pytest.mark.gpu
def test_a_gpu_reads_a_batch_before_dali_reuses_its_memory(faces):
    """Each batch is dropped while the kernel that reads it still waits for slow ones before it."""
    changes = options(augment=Augment())
    device = torch.device("cuda", torch.cuda.current_device())
    read = []
    with dali(faces, device, workers=2, **changes) as loader:
        for _ in range(8):
            images, labels = next(loader)
            torch.cuda._sleep(50_000_000)
            read.append((images.to(torch.float32).to(torch.uint8), labels))
            del images
    for expected, batch in zip(take(build_loader(faces, **changes), 8), read, strict=True):
        assert difference(expected, batch).mean() <= 2
