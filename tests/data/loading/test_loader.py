"""The loader: one stream for any number of workers and ranks, resumable anywhere, loud when input is bad."""

import multiprocessing
import multiprocessing.forkserver
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pytest
import torch

from partialfc.data.images.augmentation import Augment
from partialfc.data.images.codec import decode, encode_png
from partialfc.data.loading.plain import Batch, Loader, build_loader
from partialfc.data.loading.sampler import BatchSampler
from partialfc.errors import CheckpointError, ConfigError, DataError, ImageError, LabelError, RecordError
from tests.paths import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

PLAIN = Augment(flip=False, shift=0.0, scale=0.0, rotate=0.0, fill=0)
VARIED = Augment(flip=True, shift=0.1, scale=0.1, rotate=10.0, fill=0)


@dataclass
class Pictures:
    """PNG images held in memory: image i is noise seeded by i, of class i modulo num_classes."""

    images: list[bytes]
    num_classes: int = 5

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> tuple[bytes, int]:
        return self.images[index], index % self.num_classes

    def name(self, index: int) -> str:
        return f"pictures/{index}.png"


@dataclass
class Trouble(Pictures):
    """Pictures with one sample, `bad`, that goes wrong in the way that `kind` says."""

    bad: int = 0
    kind: str = ""
    label: int = field(default=0)

    def read(self, index: int) -> tuple[bytes, int]:
        if index != self.bad:
            return super().read(index)
        match self.kind:
            case "image":
                return b"not an image", 0
            case "record":
                raise RecordError(f"train.rec record {index}: bad magic")
            case "os":
                raise OSError("device gone")
            case "label":
                return self.images[index], self.label
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "hang":
                threading.Event().wait()
        raise AssertionError(self.kind)


@dataclass
class Unloadable(Pictures):
    """Cannot be opened again in a worker, as if its file were gone."""

    def __setstate__(self, state: object) -> None:
        raise FileNotFoundError("train.rec")


def noise(count: int, channels: int = 1) -> list[bytes]:
    return [
        encode_png(np.random.default_rng(index).integers(0, 256, (12, 12, channels), np.uint8))
        for index in range(count)
    ]


@pytest.fixture(scope="module", autouse=True)
def quick_workers() -> None:
    """Workers forked from a server that has imported this module start at once."""
    multiprocessing.set_forkserver_preload([__name__])
    multiprocessing.forkserver.ensure_running()


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures(noise(11))


def build(source: Pictures, **changes: object) -> Loader:
    options = {"global_batch": 4, "seed": 1, "image_size": 8, "channels": 1, "augment": PLAIN}
    return build_loader(source, **(options | changes))


def take(loader: Iterator[Batch], count: int) -> list[Batch]:
    return list(islice(loader, count))


def joined(batches: list[Batch]) -> Batch:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def same(left: Batch, right: Batch) -> bool:
    return torch.equal(left[0], right[0]) and torch.equal(left[1], right[1])


def test_the_samples_of_any_batch_can_be_named_while_reading(pictures):
    """As an error needs it: across an epoch's end, without moving the stream."""
    loader, expected = build(pictures), take(build(pictures), 6)
    for place, (_, labels) in enumerate(expected):
        assert torch.equal(torch.tensor(loader.indices_at(4 * place)) % 5, labels)
        assert same(next(loader), expected[place])
    assert loader.batch_size == 4


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_hold_the_images_that_the_sampler_names(channels):
    source = Pictures(noise(7, channels))
    sampler = BatchSampler(7, global_batch=4, seed=1)
    loader = build(source, image_size=12, channels=channels)
    for (images, labels), pairs in zip(take(loader, 5), sampler, strict=False):
        assert images.shape == (4, channels, 12, 12)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        for image, label, (index, _) in zip(images, labels, pairs, strict=True):
            assert label == index % 5
            expected = decode(source.images[index], channels=channels)
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


@pytest.fixture(scope="module")
def reference(pictures: Pictures) -> list[Batch]:
    """Three epochs with augmentation, read in this process by one rank."""
    return take(build(pictures, augment=VARIED), 9)


@pytest.mark.parametrize(("workers", "world_size"), [(0, 2), (0, 3), (1, 1), (1, 3), (3, 1), (3, 2)])
def test_workers_and_world_size_change_no_pixel(pictures, reference, workers, world_size):
    parts = []
    for rank in range(world_size):
        with build(pictures, augment=VARIED, workers=workers, rank=rank, world_size=world_size) as loader:
            parts.append(take(loader, 9))
    for expected, ranks in zip(reference, zip(*parts, strict=True), strict=True):
        assert same(joined(list(ranks)), expected)


def test_augmentation_differs_between_epochs_and_seeds(pictures):
    source = Pictures(pictures.images[:1])
    one = joined(take(build(source, augment=VARIED), 5))[0]
    assert len(one.flatten(1).unique(dim=0)) > 10
    other = joined(take(build(source, augment=VARIED, seed=2), 5))[0]
    assert not torch.equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 4])
def test_stopping_and_resuming_equals_not_stopping(pictures, reference, workers, stop):
    with build(pictures, augment=VARIED, workers=workers) as loader:
        assert loader.position == 0
        before = take(loader, stop)
        state = loader.state_dict()
        assert state == {"position": 4 * stop}
        assert loader.position == 4 * stop
    with build(pictures, augment=VARIED, workers=2 - workers) as loader:
        loader.load_state_dict(state)
        after = take(loader, 9 - stop)
    assert all(map(same, before + after, reference))


def test_a_running_loader_can_be_moved(pictures, reference):
    with build(pictures, augment=VARIED, workers=1) as loader:
        take(loader, 3)
        loader.load_state_dict({"position": 4})
        assert same(next(loader), reference[1])
        loader.close()
        assert same(next(loader), reference[2])


def test_a_loader_can_start_at_a_position_that_no_batch_starts_at(pictures, reference):
    images, labels = joined(reference)
    moved = joined(take(build(pictures, augment=VARIED, position=3), 8))
    assert same(moved, (images[3:35], labels[3:35]))


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_leaves_global_random_state_alone(pictures, workers):
    before = torch.get_rng_state()
    with build(pictures, augment=VARIED, workers=workers) as loader:
        take(loader, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_close_leaves_no_process_behind(pictures):
    before = set(multiprocessing.active_children())
    loader = build(pictures, workers=2)
    next(loader)
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    loader.close()
    assert set(multiprocessing.active_children()) <= before
    loader.close()


def read_until_error(source: Pictures, workers: int, **changes: object) -> tuple[Exception, Loader]:
    before = set(multiprocessing.active_children())
    loader = build(source, workers=workers, **changes)
    with pytest.raises(Exception) as caught:
        take(loader, 100)
    assert set(multiprocessing.active_children()) <= before, "an error leaves no worker behind"
    return caught.value, loader


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("kind", "expected", "message"),
    [
        ("image", ImageError, "^pictures/6.png: "),
        ("record", RecordError, "^pictures/6.png: train.rec record 6: bad magic$"),
        ("os", DataError, "^pictures/6.png: OSError: device gone$"),
    ],
)
def test_a_bad_sample_is_named_by_the_error_of_its_kind(pictures, workers, kind, expected, message):
    error, loader = read_until_error(Trouble(pictures.images, bad=6, kind=kind), workers)
    assert type(error) is expected
    assert re.search(message, str(error))
    position = loader.position
    pairs = next(iter(BatchSampler(11, global_batch=4, seed=1, position=position)))
    assert 6 in [index for index, _ in pairs], "the position is that of the batch that failed"
    with pytest.raises(expected):
        next(loader)
    assert loader.position == position


def test_an_error_that_is_not_ours_keeps_its_traceback(pictures):
    error, _ = read_until_error(Trouble(pictures.images, bad=6, kind="os"), 1)
    assert 'raise OSError("device gone")' in error.__notes__[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_records_are_replaced_by_the_next_good_one_counted_and_named(pictures, caplog, workers):
    images = list(pictures.images)
    images[6] = images[7] = b"not an image"
    with build(Pictures(images), workers=workers, max_bad_records=2) as loader:
        batches = take(loader, 9)  # three epochs
        assert loader.bad_records == 2
    good = joined(take(build(pictures), 9))
    pairs = [pair for batch in islice(BatchSampler(11, global_batch=4, seed=1), 9) for pair in batch]
    for place, (index, _) in enumerate(pairs):
        taken = 8 if index in (6, 7) else index
        assert batches[place // 4][1][place % 4] == taken % 5
        if taken == index:
            assert torch.equal(batches[place // 4][0][place % 4], good[0][place])
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 2, "each once, however often it comes up"
    for index in (6, 7):
        assert any(f"replaced: pictures/{index}.png: neither JPEG nor PNG" in line for line in warned)


@pytest.mark.parametrize("kind", ["image", "record"])
def test_one_bad_record_more_than_allowed_ends_the_run(pictures, kind):
    source = Trouble(pictures.images, bad=6, kind=kind)
    source.images = list(source.images)
    source.images[8] = b"not an image"
    error, loader = read_until_error(source, 0, max_bad_records=1)
    assert isinstance(error, ImageError | RecordError)
    assert re.search(r"pictures/[68]\.png: .*; max_bad_records is 1, and that many were skipped", str(error))
    assert loader.bad_records == 1


def test_a_replacement_is_looked_for_no_further_than_the_limit():
    error, _ = read_until_error(Pictures([b"not an image"] * 11), 0, max_bad_records=3)
    assert type(error) is ImageError
    assert "max_bad_records is 3" in str(error)


@pytest.mark.parametrize(("kind", "expected"), [("label", LabelError), ("os", DataError)])
def test_a_wrong_label_or_a_failing_disk_is_never_skipped(pictures, kind, expected):
    error, loader = read_until_error(
        Trouble(pictures.images, bad=6, kind=kind, label=7), 0, max_bad_records=5
    )
    assert type(error) is expected
    assert loader.bad_records == 0


def test_batches_that_workers_have_ready_are_counted(pictures):
    loader = build(pictures)
    next(loader)
    assert loader.queued == 0, "without workers nothing is read ahead"
    with build(pictures, workers=2) as loader:
        assert loader.queued == 0
        next(loader)
        deadline = time.monotonic() + 60
        while loader.queued < 4:  # torch keeps two batches a worker under way
            assert time.monotonic() < deadline
            time.sleep(0.01)
        next(loader)
        assert loader.queued >= 3
        loader.close()
        assert loader.queued == 0


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("label", [-1, 5, 2**40])
def test_a_label_out_of_range_is_named(pictures, workers, label):
    error, _ = read_until_error(Trouble(pictures.images, bad=3, kind="label", label=label), workers)
    assert type(error) is LabelError
    assert str(error) == f"label {label} at pictures/3.png: num_classes is 5, so labels must be 0..4"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "kill",
            r"a loader worker died: pid \d+ was killed by SIGKILL \(out of memory\?\) while reading pict.*/6",
        ),
        ("exit", r"a loader worker died: pid \d+ exited with code 3 while reading pictures/6.png"),
        (
            "hang",
            r"no batch came within timeout_seconds = 1: .*pid \d+ while reading pictures/6.png.*raise time",
        ),
    ],
)
def test_a_worker_that_dies_or_hangs_ends_in_an_error_that_names_the_sample(pictures, kind, message):
    error, _ = read_until_error(Trouble(pictures.images, bad=6, kind=kind), 2, timeout_seconds=1)
    assert type(error) is DataError
    assert re.search(message, str(error))


def test_a_worker_killed_from_outside_is_noticed(pictures):
    before = set(multiprocessing.active_children())
    with build(pictures, workers=1) as loader:
        next(loader)
        (worker,) = set(multiprocessing.active_children()) - before
        worker.kill()
        worker.join()
        with pytest.raises(DataError, match=r"was killed by SIGKILL .*while"):
            take(loader, 10)


def test_workers_that_cannot_open_the_source_are_reported(pictures):
    error, _ = read_until_error(Unloadable(pictures.images), 2)
    assert type(error) is DataError
    assert "the loader's workers did not start" in str(error)
    assert "FileNotFoundError: train.rec" in str(error)


def test_workers_leave_ctrl_c_to_the_main_process(pictures):
    before = set(multiprocessing.active_children())
    with build(pictures, workers=2) as loader:
        next(loader)
        for worker in set(multiprocessing.active_children()) - before:
            os.kill(worker.pid, signal.SIGINT)
        assert len(take(loader, 10)) == 10


KILLED = """
import os, signal
from tests.data.loading.test_loader import Pictures, build, noise

if __name__ == "__main__":
    loader = build(Pictures(noise(5)), workers=2)
    next(loader)
    print("running", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_main_process_takes_its_workers_along(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    # Workers inherit the output pipe: reading it to its end waits for the last of them.
    done = subprocess.run(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.stdout == b"running\n"
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": -1}, r"workers is -1: it must be 0 \(read in this process\) or more"),
        ({"global_batch": 0}, "global_batch is 0"),
        ({"global_batch": 2, "world_size": 3}, "global_batch is 2, world_size is 3"),
        ({"rank": 2, "world_size": 2}, r"rank is 2: it must be 0\.\.1"),
        ({"image_size": 0}, "image_size is 0: it must be 1 or more"),
        ({"channels": 2}, r"channels is 2: it must be 1 \(grey\) or 3 \(RGB\)"),
        ({"max_bad_records": -1}, r"max_bad_records is -1: it must be 0 \(none is skipped\) or more"),
        ({"timeout_seconds": 0}, "timeout_seconds is 0: it must be more than 0"),
        ({"seed": -1}, "seed is -1"),
        ({"position": -1}, "position is -1"),
    ],
)
def test_bad_arguments_are_named(pictures, changes, message):
    with pytest.raises(ConfigError, match=message):
        build(pictures, **changes)


def test_an_empty_source_is_refused():
    with pytest.raises(DataError, match="the source is empty: it must hold at least one image"):
        build(Pictures([]))


def test_a_damaged_state_is_refused_and_changes_nothing(pictures, reference):
    loader = build(pictures, augment=VARIED)
    take(loader, 2)
    with pytest.raises(CheckpointError, match="'position' must be the number of samples read so far"):
        loader.load_state_dict({"position": "4"})
    assert same(next(loader), reference[2])
