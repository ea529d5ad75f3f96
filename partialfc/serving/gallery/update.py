"""Galleries made and changed: a reader sees the one before a change or after, also after a power cut."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from partialfc.errors import ConfigError, DataError
from partialfc.files import sync
from partialfc.serving.card import Card
from partialfc.serving.gallery.faiss_index import FACTORY, FaissIndex
from partialfc.serving.gallery.manifest import (
    LOCK,
    MANIFEST,
    Manifest,
    Part,
    Storage,
    changing,
    other_model,
    read_manifest,
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
    name_bytes,
)
from partialfc.serving.rows import Rows, unit_rows

SMALL = 1 << 16  # rows: a last segment with fewer is written again with what is added
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

    Raises ConfigError where there is one, or where something else lies in the folder; DataError for a name
    that breaks the rule of `names.py`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = (folder / MANIFEST).exists()
    if there and not overwrite:
        raise ConfigError(
            f"{folder}: is a gallery already; name another folder, or replace it with --overwrite"
        )
    if not there and any(folder.iterdir()) and not (folder / LOCK).exists():
        raise ConfigError(f"{folder}: holds other files; name a folder of its own for the gallery")
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
        return _written(folder, manifest, (), (_stored(batch, manifest) for batch in batches))


def add(folder: Path, batches: Batches, *, card: Card) -> int:
    """Add unit rows and their names, behind the others -> how many were added. card: of their model.

    In a gallery of means a name stands once. Raises ConfigError for another model, and DataError for a name
    that is there already, or breaks the rule of `names.py`.
    """
    with changing(folder):
        manifest = read_manifest(folder)
        if card.identity != manifest.card.identity:
            raise ConfigError(other_model(folder, manifest.card, card))
        tidy(folder, manifest)
        parts = manifest.parts
        cut = len(parts) - 1 if parts and parts[-1].rows < SMALL else len(parts)
        known = _names_of(folder, manifest) if manifest.mean else set()

        def stored() -> Iterator[Stored]:
            for part in parts[cut:]:
                yield from _blocks(_segment(folder, manifest, part))
            for rows, names in batches:
                for name, _ in names:
                    if name_bytes(name) in known:
                        raise DataError(f"{folder}: has {name!r} already; remove it first")
                yield _stored((rows, names), manifest)

        return _written(folder, manifest, parts[:cut], stored()) - manifest.rows


def remove_names(folder: Path, names: Collection[str]) -> int:
    """Remove all rows with these names -> how many. Raises DataError for a name that no row has."""
    wanted = {name_bytes(name): name for name in names}
    with changing(folder):
        manifest = read_manifest(folder)
        tidy(folder, manifest)
        kept: list[Part] = []
        touched: list[tuple[Segment, np.ndarray]] = []
        met: set[bytes] = set()
        for part in manifest.parts:
            segment = _segment(folder, manifest, part)
            gone = np.zeros(len(segment), np.bool_)
            for place, name in enumerate(segment.each_name()):
                if name in wanted:
                    gone[place] = True
                    met.add(name)
            if gone.any() or touched:  # all behind is written again, so that rows keep their order
                touched.append((segment, gone))
            else:
                kept.append(part)
        if missing := wanted.keys() - met:
            known = wanted[min(missing)]
            raise DataError(
                f"{folder}: no row has the name {known!r} ({len(missing)} such names); none was removed"
            )

        def left() -> Iterator[Stored]:
            for segment, gone in touched:
                yield from _blocks(segment, gone)

        return manifest.rows - _written(folder, manifest, tuple(kept), left())


def _written(folder: Path, manifest: Manifest, kept: tuple[Part, ...], more: Iterable[Stored]) -> int:
    """Write what comes behind the parts that are kept, and make it the gallery -> its rows."""
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
    return manifest.rows


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


def _blocks(segment: Segment, gone: np.ndarray | None = None) -> Iterator[Stored]:
    """The rows of a segment, but for those that are gone."""
    for start in range(0, len(segment), BLOCK):
        stored = segment.stored(start, min(start + BLOCK, len(segment)))
        if gone is not None:
            left = np.flatnonzero(~gone[start : start + BLOCK])
            scales = None if stored.scales is None else stored.scales[left]
            stored = Stored(stored.rows[left], scales, [stored.names[place] for place in left.tolist()])
        yield stored


def _segment(folder: Path, manifest: Manifest, part: Part) -> Segment:
    try:
        return Segment(folder, part, manifest.storage, manifest.card.embedding_size)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: is missing: the gallery is damaged") from error


def _names_of(folder: Path, manifest: Manifest) -> set[bytes]:
    return {name for part in manifest.parts for name in _segment(folder, manifest, part).each_name()}
