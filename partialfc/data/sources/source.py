"""Where labelled images come from: which source reads a path."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partialfc.data.sources.byte_files import expanded, is_pattern, is_url, suffix_of
from partialfc.data.sources.dataset_folder import table_files
from partialfc.data.sources.folder import FolderSource
from partialfc.data.sources.insightface import RecordSource
from partialfc.data.sources.keys import select
from partialfc.data.sources.labelled import Labelled as Labelled
from partialfc.data.sources.labelled import Source as Source
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.data.sources.merged import Merged
from partialfc.data.sources.selected import Selected
from partialfc.data.sources.shards import ShardSource
from partialfc.data.sources.tables import TableSource
from partialfc.data.sources.text_list import ListSource, is_list
from partialfc.errors import DataError

Place = str | Path  # of a source: a path or a URL

KINDS = (
    "a .rec file, a folder of class folders, a text list (.txt) of `path label` lines, a tar shard, or a "
    ".parquet file or a folder of the datasets library"
)
SEVERAL = (".tar", ".parquet")  # what a URL or a pattern may name


@dataclass(frozen=True, slots=True)
class _Options:
    class_depth: int
    root: Path | None


def open_source(
    path: Place | Sequence[Place],
    *,
    classes: Sequence[str] | None = None,
    class_depth: int = 1,
    root: Path | None = None,
    only: Path | None = None,
    leave_out: Path | None = None,
) -> Labelled:
    """The images of what a path or URL names, of any kind (KINDS); or of several, merged (merged.py).

    Several tar shards are one source: by a pattern such as `shard-{000..127}.tar`, or the folder they are in.
    only, leave_out: files with the key of an image a line, to take no others, or all others; classes without
    an image then have no id, and the ids no gaps (keys.py, selected.py). classes: the class names that an
    earlier run had (`.classes`), whose ids are kept; where labels are class ids, as in a `.rec` that is taken
    whole, they say themselves. class_depth: FolderSource's. root: ListSource's. Raises DataError where the
    path or one of the files cannot be used.
    """
    places = [path] if isinstance(path, Place) else list(path)
    if not places:
        raise DataError("no source is named: give a path, or a list of them")
    options = _Options(class_depth, root)
    _require_users(places, options)
    known = classes if only is None and leave_out is None else None
    source: Labelled
    if len(places) == 1:
        source = _opened(places[0], known, options)
    else:
        source = Merged([_opened(place, None, options) for place in places], classes=known)
    if only is None and leave_out is None:
        return source
    return Selected(source, select(source, only, leave_out), classes=classes)


def _opened(place: Place, classes: Sequence[str] | None, options: _Options) -> Labelled:
    if is_url(place) and is_list(place) and not is_pattern(place):
        return ListSource(place, root=options.root, classes=classes)
    if is_url(place) or is_pattern(place):
        return _files(expanded(place), str(place), classes)
    path = Path(place)
    if not path.exists():
        raise DataError(f"{path}: does not exist")
    if path.is_dir():
        records = _within(path, ".rec")
        if records:
            raise DataError(
                f"{path}: holds RecordIO files, not class folders; name one of them, such as {records[0]}"
            )
        if files := _within(path, ".tar") or table_files(path):
            _require_no_folders(path, files)
            return _files(files, str(path), classes)
        return FolderSource(path, classes, class_depth=options.class_depth)
    if path.suffix == ".rec":
        return RecordSource(path)
    if is_list(path):
        return ListSource(path, root=options.root, classes=classes)
    return _files([str(path)], str(path), classes)


def _files(names: Sequence[str], origin: str, classes: Sequence[str] | None) -> Labelled:
    """What is made of several files, or of one behind a URL."""
    kinds = {suffix_of(name) for name in names}
    if kinds == {".tar"}:
        return ShardSource(names, origin=origin, classes=classes)
    if kinds == {".parquet"} or (kinds == {".arrow"} and not any(map(is_url, names))):
        return TableSource(names, origin=origin, classes=classes)
    if any(map(is_url, names)) or len(names) > 1:
        wrong = next((name for name in names if suffix_of(name) not in SEVERAL), names[-1])
        raise DataError(
            f"{wrong}: a URL or a pattern may name {' or '.join(SEVERAL)} files, all of one kind; a URL may "
            "name a text list, too"
        )
    raise DataError(f"{names[0]}: is not {KINDS}")


def holds_files(folder: Path) -> bool:
    """Whether the folder holds files with images, such as tar shards, rather than the images themselves."""
    return bool(_within(folder, ".rec") or _within(folder, ".tar") or table_files(folder))


def _require_no_folders(folder: Path, files: Sequence[str]) -> None:
    """DataError where folders lie beside the files, so that their images may be meant."""
    there = (entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not leftover_kind(entry.name))
    other = next((entry for entry in there if entry.name != "data"), None)  # which holds the hub's files
    if other is not None:
        raise DataError(
            f"{folder}: holds files with images, such as {files[0]}, and folders, such as {other}; move one "
            f"kind away, or name the files: {Path(files[0]).with_name('*' + suffix_of(files[0]))}"
        )


def _within(folder: Path, suffix: str) -> list[str]:
    """The files of a kind that lie in the folder itself."""
    return sorted(str(file) for file in folder.glob(f"*{suffix}") if not leftover_kind(file.name))


def _require_users(places: Sequence[Place], options: _Options) -> None:
    """DataError for an option that no source has a use for."""
    there = [place for place in places if is_url(place) or is_pattern(place) or Path(place).exists()]
    if options.class_depth != 1 and there and not any(Path(place).is_dir() for place in there):
        raise DataError(
            f"{there[0]}: class_depth is {options.class_depth}, but only image folders have one; leave it out"
        )
    if options.root is not None and there and not any(map(is_list, there)):
        raise DataError(f"{there[0]}: root is {options.root}, but only text lists have one; leave it out")
