"""Galleries made and changed: a reader sees the one before a change or after, also after a power cut."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from partialfc.data.sources.keys import from_key
from partialfc.errors import ConfigError, DataError
from partialfc.files import sync
from partialfc.serving.card import Card
from partialfc.serving.gallery.changes import is_log, log_of, net, read_log
from partialfc.serving.gallery.faiss_index import FACTORY, FaissIndex
from partialfc.serving.gallery.manifest import (
    LOCK,
    MANIFEST,
    Manifest,
    Part,
    Storage,
    changing,
    read_manifest,
    require_model,
    tidy,
    write_manifest,
)
from partialfc.serving.gallery.names import require_name
from partialfc.serving.gallery.segments import (
    Name,
    Segment,
    SegmentWriter,
    Stored,
    as_stored,
    told_by,
)
from partialfc.serving.rows import Rows, unit_rows

SMALL = 1 << 16  # rows: a last segment with fewer is written again with what is added
OF_A_DISK = "lost+found"  # which a volume of its own comes with
BLOCK = 1 << 14  # rows in memory when a segment is written again

Batches = Iterable[tuple[Rows, list[Name]]]


def create(
    folder: Path,
    card: Card,
    batches: Batches,
    *,
    model: Path | None = None,
    storage: Storage = "float32",
    mean: bool = False,
    faiss: str | None = None,
    overwrite: bool = False,
) -> int:
    """Make a gallery of unit rows [n, D] and their names, a batch after the other -> how many rows it has.

    model: where the card's model lies. mean: whether rows stand for classes. faiss: the factory string of an
    index over the rows, "" for its usual one; needs another storage than int8. overwrite: replace the gallery
    that is there, once this one is whole.

    Raises ConfigError where there is one, or where something else lies in the folder; DataError for a log
    whose gallery is gone, and for a name that breaks the rule of `names.py`.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    there = (folder / MANIFEST).exists()
    if there and not overwrite:
        raise ConfigError(
            f"{folder}: is a gallery already; name another folder, or replace it with --overwrite"
        )
    others = {path.name for path in folder.iterdir()} - {OF_A_DISK}
    if not there and others and not (folder / LOCK).exists():
        raise ConfigError(f"{folder}: holds other files; name a folder of its own for the gallery")
    log = next((name for name in sorted(others) if not there and is_log(name)), None)
    if log is not None:  # which nothing but a gallery that was whole has
        raise DataError(
            f"{folder}: has {log}, what requests have changed, and no {MANIFEST}: bring that back from a "
            "copy, or remove the folder to be without them"
        )
    try:
        with changing(folder):
            if faiss is not None:
                FaissIndex.build((), card.embedding_size, faiss or FACTORY)  # fails here, not after hours
            before = read_manifest(folder) if there else None
            if before is None:
                tidy(folder, None)
            manifest = Manifest(
                card=card,
                model="" if model is None else str(model.absolute()),
                storage=storage,
                mean=mean,
                faiss=(faiss or FACTORY) if faiss is not None else None,
                following=1 if before is None else before.following,
            )
            return _written(folder, manifest, (), (_stored(batch, manifest) for batch in batches)).rows
    except BaseException:
        if made:
            with suppress(OSError):  # there is something to go on from
                folder.rmdir()
        raise


def add(folder: Path, batches: Batches, *, card: Card) -> int:
    """Add unit rows and their names, behind the others -> how many were added. card: of their model.

    In a gallery of means a name stands once. Raises ConfigError for another model, and DataError for a name
    that is there already, or breaks the rule of `names.py`.
    """
    with changing(folder):
        require_model(folder, read_manifest(folder).card, card)
        manifest = _settled(folder)
        known = set(_each_name(folder, manifest)) if manifest.mean else set()

        def more() -> Iterator[Stored]:
            for rows, names in batches:
                for name, _ in names:
                    if told_by(name) in known:
                        raise DataError(f"{folder}: has {name!r} already; remove it first")
                yield _stored((rows, names), manifest)

        return _changed(folder, manifest, more=more()).rows - manifest.rows


def remove_names(folder: Path, names: Collection[str]) -> int:
    r"""Remove all rows with these names -> how many. Raises DataError for a name that no row has.

    A name may also be as `search` shows it, with `\t` for a tab.
    """
    with changing(folder):
        manifest = _settled(folder)
        may_be = {name: (told_by(name), told_by(from_key(name))) for name in names}
        wanted = {each for both in may_be.values() for each in both}
        there = {name for name in _each_name(folder, manifest) if name in wanted}
        gone = {name: next((each for each in both if each in there), None) for name, both in may_be.items()}
        missing = sorted(name for name, found in gone.items() if found is None)
        if missing:
            others = f", nor {len(missing) - 1} others that were named" if len(missing) > 1 else ""
            raise DataError(f"{folder}: no row has the name {missing[0]!r}{others}; none was removed")
        return manifest.rows - _changed(folder, manifest, gone={*filter(None, gone.values())}).rows


def begin_log(folder: Path) -> Manifest:
    """Let a gallery have an empty log, and what its log has in its own files. Called inside `changing`."""
    manifest = _settled(folder)
    if manifest.log is None:
        manifest = replace(manifest, log=manifest.following, following=manifest.following + 1)
        assert manifest.log is not None
        with log_of(folder, manifest.log, manifest.card, writable=True) as log:
            list(log.read())
        write_manifest(folder, manifest)
    return manifest


def _settled(folder: Path) -> Manifest:
    """A gallery that is to be changed, without what a killed process left, and without changes in a log."""
    manifest = read_manifest(folder)
    tidy(folder, manifest)
    removed, added = net(read_log(folder, manifest))
    if not (removed or added):
        return manifest
    gone = {told_by(name) for name in removed}
    more = (_stored((rows, [(name, "")] * len(rows)), manifest) for name, rows in added)
    return _changed(folder, replace(manifest, log=None), gone=gone, more=more if added else None)


def _changed(
    folder: Path,
    manifest: Manifest,
    *,
    gone: Collection[bytes] = (),
    more: Iterable[Stored] | None = None,
) -> Manifest:
    """Make a gallery that has no longer the rows of some names, and others behind the rest.

    From the first part that is touched on all is written again, so that rows keep their order.
    """
    segments = [_segment(folder, manifest, part).without(gone) for part in manifest.parts]
    touched = [number for number, segment in enumerate(segments) if segment.hidden is not None]
    if more is not None and segments and len(segments[-1]) < SMALL:
        touched.append(len(segments) - 1)
    cut = min(touched, default=len(segments))
    left = (stored for segment in segments[cut:] for stored in _blocks(segment))
    return _written(folder, manifest, manifest.parts[:cut], chain(left, more or ()))


def _written(folder: Path, manifest: Manifest, kept: tuple[Part, ...], more: Iterable[Stored]) -> Manifest:
    """Write what comes behind the parts that are kept, and make it the gallery."""
    writer = SegmentWriter(folder, manifest.following, manifest.storage, manifest.card.embedding_size)
    with closing(writer):
        for stored in more:
            writer.write(stored)
        parts = (*kept, *writer.finish())
    manifest = replace(manifest, parts=parts, following=writer.number, faiss_part=None)
    if manifest.faiss is not None:
        segments = [_segment(folder, manifest, part) for part in parts]
        index = FaissIndex.build(segments, manifest.card.embedding_size, manifest.faiss)
        index.write(folder, manifest.following)
        manifest = replace(manifest, faiss_part=manifest.following, following=manifest.following + 1)
    sync(folder)
    write_manifest(folder, manifest)
    return manifest


def _stored(batch: tuple[Rows, list[Name]], manifest: Manifest) -> Stored:
    rows, names = batch
    if rows.ndim != 2 or rows.shape != (len(names), manifest.card.embedding_size):
        wanted = f"[{len(names)}, {manifest.card.embedding_size}]"
        raise ValueError(f"rows are {list(rows.shape)}; for these names they must be {wanted}")
    for name, key in names:
        require_name(name, key or "a row")
    return as_stored(
        unit_rows(rows, lambda index: names[index][1] or names[index][0]), names, manifest.storage
    )


def _blocks(segment: Segment) -> Iterator[Stored]:
    """The rows of a segment, but for the hidden ones."""
    for start in range(0, len(segment), BLOCK):
        yield segment.stored(start, min(start + BLOCK, len(segment)))


def _segment(folder: Path, manifest: Manifest, part: Part) -> Segment:
    try:
        return Segment(folder, part, manifest.storage, manifest.card.embedding_size)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: is missing: the gallery is damaged") from error


def _each_name(folder: Path, manifest: Manifest) -> Iterator[bytes]:
    return (name for part in manifest.parts for name in _segment(folder, manifest, part).each_name())
