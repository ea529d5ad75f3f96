"""All photos of a folder to a folder of crops."""

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from partialfc.data.align import journal
from partialfc.data.align.faces import Finder
from partialfc.data.align.journal import Entry
from partialfc.data.align.photo import Aligned, Cropping, align_photo
from partialfc.data.parallel.in_order import in_order
from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.data.sources.folder_listing import list_folder
from partialfc.data.sources.keys import as_key
from partialfc.errors import ConfigError, DataError
from partialfc.files import json_text, write_whole

log = logging.getLogger(__name__)

SETTINGS = "align.json"
_PART = 8  # photos that a worker takes at a time
_NAMED = 5  # photos of each kind that an error names
_OF_SEVERAL = re.compile(r"(.+)\.face\d+")


@dataclass(frozen=True, slots=True)
class Summary:
    """photos by their outcome, and how many crops there are; kept: photos that were done before."""

    outcomes: Counter[str]
    crops: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Work:
    """What a worker does: photos start..stop-1."""

    folder: Path
    photos: Sequence[str]
    finder: Finder
    cropping: Cropping

    def __call__(self, start: int, stop: int) -> list[Aligned]:
        return [self._align(photo) for photo in self.photos[start:stop]]

    def _align(self, photo: str) -> Aligned:
        try:
            data = (self.folder / photo).read_bytes()
        except OSError as error:
            return Aligned("unreadable", message=f"cannot be read: {error.strerror}")
        return align_photo(data, photo, self.finder, self.cropping)


def align_folder(
    folder: str | Path,
    out: str | Path,
    *,
    photos: Sequence[str],
    finder: Finder,
    cropping: Cropping,
    found_by: dict[str, Any],
    max_bad: int = 0,
    workers: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    progress: ShowProgress = no_progress,
) -> Summary:
    """Write the crops of `photos`, paths below `folder` (`list_photos`), to the same paths in `out`.

    `out` also gets `align.csv`, which says what became of each photo, and `align.json` with the settings:
    `cropping` and `found_by`, how faces are found. `resume` keeps what an earlier call with the same settings
    wrote, and does the rest, so a call may be stopped at any time; `overwrite` begins again.

    Raises ConfigError for folders or settings that do not fit, DataError where `out` holds something already
    and, when all else is done, where photos went wrong: without a face or with several where `cropping` says
    that this is an error, or more than `max_bad` unreadable or with landmarks that are no face's.
    """
    folder, out = Path(folder), Path(out)
    settings = json.loads(json_text({**cropping.settings(), **found_by}))
    kept = _entries_to_keep(folder, out, photos, settings, cropping, resume=resume, overwrite=overwrite)
    done = {entry.photo for entry in kept}
    waiting = [photo for photo in photos if as_key(photo) not in done]
    names = crop_names(photos, cropping)
    outcomes = Counter(entry.outcome for entry in kept)
    crops = sum(len(entry.crops) for entry in kept)
    wrong: dict[str, list[str]] = {}
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / SETTINGS, json_text({"settings": settings}, indent=1) + "\n")
    work = _Work(folder, waiting, finder, cropping)
    with journal.begin(out / journal.NAME, kept) as written:
        results = in_order(work, len(waiting), part=_PART, workers=workers)
        for photo, aligned in zip(waiting, (each for part in results for each in part), strict=True):
            targets = _targets(names[photo], len(aligned.crops), cropping)
            for target, crop in zip(targets, aligned.crops, strict=True):
                _write(out / target, crop.image)
            written.write(journal.entry(photo, aligned, targets).text)
            written.flush()
            outcomes[aligned.outcome] += 1
            crops += len(targets)
            if not _is_done(aligned.outcome, cropping):
                wrong.setdefault(aligned.outcome, []).append(photo)
            progress("aligning", outcomes.total() - len(kept), len(waiting))
    counts = {"photos": outcomes.total(), "crops": crops, **dict(sorted(outcomes.items()))}
    write_whole(out / SETTINGS, json_text({"settings": settings, "counts": counts}, indent=1) + "\n")
    _require_right(wrong, len(photos), max_bad, out / journal.NAME)
    return Summary(outcomes, crops, len(kept))


def list_photos(folder: str | Path) -> list[str]:
    """The images below a folder, by their paths below it, sorted; DataError where there is none."""
    found = list_folder(Path(folder), class_depth=1)
    photos = [f"{name}/{within}" for name, images in found.classes.items() for within in images]
    for kind, count in sorted((found.unread + found.skipped).items()):
        log.warning("%s: %d %s left out", folder, count, kind)
    if not photos and not found.above:
        raise DataError(f"{folder}: holds no image")
    return sorted(photos + found.above)


def crop_names(photos: Sequence[str], cropping: Cropping) -> dict[str, str]:
    """The name of each photo's crop without its suffix: the photo's, unless another one's is the same.

    Those keep their suffix: `a.png` and `a.bmp` become `a.png.jpg` and `a.bmp.jpg`.
    """
    without = {photo: PurePosixPath(photo).with_suffix("").as_posix() for photo in photos}
    counts = Counter(name.lower() for name in without.values())

    def is_taken(name: str) -> bool:
        face = _OF_SEVERAL.fullmatch(name) if cropping.several == "all" else None
        return counts[name.lower()] > 1 or (face is not None and face[1].lower() in counts)

    return {photo: photo if is_taken(name) else name for photo, name in without.items()}


def _targets(name: str, count: int, cropping: Cropping) -> tuple[str, ...]:
    if count == 1:
        return (f"{name}.{cropping.format}",)
    return tuple(f"{name}.face{number}.{cropping.format}" for number in range(1, count + 1))


def _write(path: Path, image: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    beside.write_bytes(image)
    os.replace(beside, path)


def _is_done(outcome: str, cropping: Cropping) -> bool:
    """Whether a photo that had this outcome is as the settings want it."""
    return outcome in ("aligned", "centre") or (outcome == "no face" and cropping.none == "skip")


def _entries_to_keep(
    folder: Path,
    out: Path,
    photos: Sequence[str],
    settings: dict[str, Any],
    cropping: Cropping,
    *,
    resume: bool,
    overwrite: bool,
) -> list[Entry]:
    """What an earlier call did, where this one resumes it."""
    if resume and overwrite:
        raise ConfigError(
            "--resume and --overwrite: give only one of them; --resume keeps the crops of an earlier call, "
            "--overwrite replaces them"
        )
    if out.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"{out}: lies within {folder}, so its crops would be photos; name a folder elsewhere"
        )
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file, not a folder")
    before = out / journal.NAME
    if not (resume or overwrite) and out.exists() and any(out.iterdir()):
        raise DataError(
            f"{out}: is not empty: --resume goes on with an earlier call, --overwrite replaces its crops"
        )
    if not before.exists():
        return []
    entries = list(journal.read(before))
    if overwrite:
        _remove_crops(out, entries)
        return []
    _require_same_settings(out / SETTINGS, settings)
    wanted = {as_key(photo) for photo in photos}
    return [
        entry
        for entry in entries[:-1]  # the last one's lines may be cut
        if entry.photo in wanted
        and _is_done(entry.outcome, cropping)
        and all((out / name).is_file() for name in entry.crops)
    ]


def _remove_crops(out: Path, entries: Sequence[Entry]) -> None:
    for entry in entries:
        for name in entry.crops:
            if not (PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts):
                (out / name).unlink(missing_ok=True)


def _require_same_settings(path: Path, settings: dict[str, Any]) -> None:
    try:
        before = json.loads(path.read_text())["settings"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path}: cannot be read, so nothing can be resumed: {error}") from error
    for name in sorted(before.keys() | settings.keys()):
        if before.get(name) != settings.get(name):
            raise ConfigError(
                f"{name} is {settings.get(name)}, and was {before.get(name)} in the call that is resumed "
                f"({path}); give the same, or --overwrite"
            )


def _require_right(wrong: dict[str, list[str]], total: int, max_bad: int, report: Path) -> None:
    bad = sum(len(wrong.get(outcome, [])) for outcome in ("unreadable", "bad landmarks"))
    says = []
    for outcome, photos in sorted(wrong.items()):
        if outcome in ("unreadable", "bad landmarks") and bad <= max_bad:
            log.warning("%d photos left out: %s, see %s", len(photos), outcome, report)
            continue
        more = ", ..." if len(photos) > _NAMED else ""
        says.append(f"{outcome}: {len(photos)} ({', '.join(photos[:_NAMED])}{more})")
    if says:
        raise DataError(
            f"of {total} photos, {'; '.join(says)}; all others are done, and all listed in {report}"
        )
