"""Checks of the training data: whether it opens, and whether its images decode."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from partialfc.data.images.codec import decode
from partialfc.data.sources.checked_images import named
from partialfc.data.sources.labelled import Labelled, Remark
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.doctor.labels import NO_CLASS_IDS
from partialfc.errors import (
    CheckpointError,
    DataError,
    ImageError,
    LabelError,
    MissingExtraError,
    PartialFCError,
    RecordError,
    RecordIndexError,
)

SAMPLE = 256


def check_source(
    places: Sequence[Path | str], open_source: Callable[[], Labelled], *, class_depth: int = 1
) -> tuple[Check, Labelled | None]:
    """Open the places that data.train names; the source is None where it cannot be opened."""
    try:
        source = open_source()
    except CheckpointError as error:  # of the classes.json that the run has saved before
        return red("data", str(error), "restore that file, or choose another run.dir"), None
    except RecordIndexError as error:
        return red("data", str(error), _delete_index(places)), None
    except RecordError as error:
        return red("data", str(error), "copy the .rec again from where it came, with its .idx"), None
    except LabelError as error:
        return red("data", str(error), NO_CLASS_IDS), None
    except MissingExtraError as error:
        return red("data", str(error), "install that package on every machine of the run"), None
    except (PartialFCError, OSError) as error:
        return red("data", str(error), _opening_remedy(places, class_depth)), None
    says = f"{source.origin}: {len(source):,} images of {source.num_classes:,} classes"
    return judge_remarks(source.remarks, says), source


def _delete_index(places: Sequence[Path | str]) -> str:
    path = Path(places[0])
    if len(places) == 1 and path.suffix == ".rec":
        return f"delete {path.with_suffix('.idx')}; {path.name} is then scanned instead"
    return "delete the .idx that it names; the .rec beside it is then scanned instead"


def judge_remarks(remarks: Sequence[Remark], says: str) -> Check:
    """What the source noticed when it was opened."""
    says = "; ".join((says, *(remark.says for remark in remarks)))
    remedies = [remark.remedy for remark in remarks if remark.remedy]
    return yellow("data", says, "; ".join(remedies)) if remedies else green("data", says)


def _opening_remedy(places: Sequence[Path | str], class_depth: int) -> str:
    paths = [Path(place) for place in places]
    if any(path.is_dir() for path in paths):
        return (
            "put each class's images into a folder of its own below data.train, and nothing beside these "
            "folders; or set data.class_depth to the level that those folders are on, or to 0"
        )
    there = all(path.exists() for path in paths)
    if there and class_depth != 1:
        return "leave data.class_depth out"
    if there and len(paths) == 1 and paths[0].suffix == ".rec":
        return f"correct {paths[0].with_name('property')}, or delete it to have the classes counted"
    if there:
        return "correct what the message names"
    return "set data.train to what this machine can read: partialfc config --schema says what it may be"


def check_records(source: Labelled, *, channels: int, max_pixels: int, allowed: int, seconds: float) -> Check:
    """Read and decode some images for at most so many seconds: the first, the last, and others at random.

    allowed: data.max_bad_records.
    """
    drawn = np.random.default_rng(0).permutation(len(source))[:SAMPLE].tolist()
    deadline = time.perf_counter() + seconds
    read, failures = 0, list[DataError]()
    for index in dict.fromkeys([0, len(source) - 1, *drawn]):
        if time.perf_counter() > deadline:
            break
        read += 1
        try:
            decode(source.read(index)[0], channels=channels, max_pixels=max_pixels)
        except LabelError:
            continue  # judge_labels looks at all of them
        except RecordIndexError as error:
            return red("records", str(error), _delete_index([source.origin]))
        except DataError as error:
            failures.append(type(error)(named(source.name(index), error)))
    return judge_records(read, failures, total=len(source), allowed=allowed)


def judge_records(read: int, failures: Sequence[DataError], *, total: int, allowed: int) -> Check:
    """read: how many of `total` images were read; failures: those that failed; allowed: max_bad_records."""
    if not failures:
        return green("records", f"{read} sampled, all decode")
    says = f"{len(failures)} of {read} sampled cannot be read: {failures[0]}"
    unreadable = [error for error in failures if not isinstance(error, ImageError | RecordError)]
    if unreadable:  # which no run skips: the file is there, but the disk or its rights are not
        says = f"{len(failures)} of {read} sampled cannot be read: {unreadable[0]}"
        return red("records", says, "make those files readable, or remove them; the run stops at the first")
    expected = math.ceil(len(failures) * total / read)
    about = "" if read == total else "about "
    if expected <= allowed:
        return yellow(
            "records",
            f"{says}; {about}{expected:,} in all will be replaced, data.max_bad_records is {allowed}",
            "replace or remove them, or leave them out for good: partialfc data pack --max-bad",
        )
    return red(
        "records",
        f"{says}; data.max_bad_records is {allowed}",
        f"replace or remove the damaged images ({about}{expected:,} in all), or set data.max_bad_records to "
        "that many",
    )
