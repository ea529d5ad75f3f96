"""The images below a folder by class, and what else lies there."""

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from partialfc.data.images.codec import SUFFIXES
from partialfc.data.sources.leftovers import leftover_kind
from partialfc.errors import DataError

_UNREAD = (".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".tif", ".tiff")  # images, but not decoded here


@dataclass(slots=True)
class Listing:
    """classes: the names of the images of each class, relative to its folder, in no order.

    above: images that lie above the class folders. deeper: how many lie in folders within a class folder.
    skipped: how many entries of each kind are no images, such as `._*`, `.git` or `*.txt`. unread: likewise,
    images of a kind that is not decoded.
    """

    classes: dict[str, list[str]] = field(default_factory=dict)
    above: list[str] = field(default_factory=list)
    deeper: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)


def list_folder(path: Path, *, class_depth: int) -> Listing:
    """Everything below `path`. A class is a folder `class_depth` levels below it, with all that is in it.

    With 0 a class is each folder that holds images itself, on whatever level.
    A class is named by its path relative to `path`, with `/` between levels. Leftovers are skipped
    (partialfc.data.sources.leftovers), and links to a folder that is listed anyway, or that holds this one.
    Raises DataError where a folder cannot be listed.
    """
    listing = Listing()
    # Each: a folder, the names that lead to it, and the real folders whose content those names are.
    waiting: list[tuple[Path, list[str], tuple[str, ...]]] = [(path, [], (os.path.realpath(path),))]
    while waiting:
        folder, parts, roots = waiting.pop()
        depth = class_depth or max(1, len(parts))
        name = "/".join(parts[:depth])
        if len(parts) < depth:
            names, within = listing.above, parts
        else:
            names = listing.classes.setdefault(name, [])
            within = parts[depth:]
        images = []
        prefix = "".join(f"{part}/" for part in within)
        for entry in _entries(folder):
            if _is_plain_image(entry):
                images.append(prefix + entry.name)
            elif kind := leftover_kind(entry.name):
                listing.skipped[kind] += 1
            elif _is(entry, "dir"):
                if (below := _roots_below(entry, roots)) is None:
                    listing.skipped["links within the data"] += 1
                else:
                    waiting.append((folder / entry.name, [*parts, entry.name], below))
            elif _is_image(entry, listing):
                images.append(prefix + entry.name)
        names += images
        if len(parts) > depth:
            listing.deeper += len(images)
        if class_depth == 0 and not images:
            listing.classes.pop(name, None)  # a folder on the way to others
    return listing


def _entries(path: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"{path}: cannot be listed: {error.strerror}") from error


def _is_plain_image(entry: "os.DirEntry[str]") -> bool:
    """True for nearly all entries of a folder of images, by the quickest test; False leaves it open."""
    name = entry.name
    return name[0] != "." and name.lower().endswith(SUFFIXES) and entry.is_file(follow_symlinks=False)


def _is(entry: "os.DirEntry[str]", kind: str) -> bool:
    """Whether it is a "dir" or a "file", or a link to one; a link to itself is neither."""
    with contextlib.suppress(OSError):
        return entry.is_dir() if kind == "dir" else entry.is_file()
    return False


def _is_image(entry: "os.DirEntry[str]", listing: Listing) -> bool:
    """By its name; what is none is counted. A link to nothing is one, so that it is not missed."""
    suffix = os.path.splitext(entry.name)[1].lower()
    to_nothing = entry.is_symlink() and not os.path.exists(entry.path)
    if not (_is(entry, "file") or to_nothing):
        listing.skipped["pipes or devices"] += 1
    elif suffix in SUFFIXES:
        return True
    elif suffix in _UNREAD:
        listing.unread[f"*{suffix}"] += 1
    else:
        listing.skipped[f"*{suffix}" if suffix else "files without a suffix"] += 1
    return False


def _roots_below(entry: "os.DirEntry[str]", roots: tuple[str, ...]) -> tuple[str, ...] | None:
    """The roots of a folder's content; None for a link by which images would count twice, or without end."""
    if not entry.is_symlink():
        return roots
    target = os.path.realpath(entry.path)
    if any(_is_listed(root, target) or _contains(target, root) for root in roots):
        return None
    return (*roots, target)


def _is_listed(root: str, path: str) -> bool:
    """Whether the listing of `root` comes to `path` without a link."""
    return _contains(root, path) and not any(map(leftover_kind, Path(path).relative_to(root).parts))


def _contains(folder: str, path: str) -> bool:
    return Path(path).is_relative_to(folder)
