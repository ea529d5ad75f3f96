"""The embeddings of a source's images as a file: `.npy` with a list of keys, or `.parquet`."""

import logging
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.parallel.in_order import in_order, workers_for
from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.data.sources.byte_files import THREADS
from partialfc.data.sources.keys import as_key
from partialfc.errors import ConfigError
from partialfc.serving.images import Decode, Decoded, Images, require_good
from partialfc.serving.model import Model
from partialfc.serving.parquet import require_parquet, write_parquet
from partialfc.serving.row_file import ANEW, RowFile, chained, partial_of, sweep, write_lines, writing
from partialfc.serving.rows import Rows

log = logging.getLogger(__name__)

NPY, PARQUET = ".npy", ".parquet"
SAVE_EVERY = 16  # batches, or
SAVE_SECONDS = 5.0
ASKED = 1 << 10  # images whose files are looked at together

IfChanged = Literal["refuse", "begin-anew"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How images are embedded. workers: processes that decode; 0 or 1: none besides, None: one a core."""

    batch_size: int = 64
    max_pixels: int = MAX_PIXELS
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """The images start..stop of a source. rows [m, D]: of those that could be decoded, numbers `kept`.

    states: of all of them, as the source gives them.
    """

    stop: int
    kept: list[int]
    rows: Rows
    bad: list[tuple[int, str]]
    states: list[str]


def embedded(
    model: Model, images: Images, work: Work, *, start: int = 0, skip_bad: bool = False
) -> Generator[Embedded, None, None]:
    """The images from number `start` on, a batch at a time, in their order.

    What is in a batch, and so each row to the last bit, is the same wherever it begins, at a multiple of the
    batch size. Raises ImageError for an image that cannot be decoded, unless `skip_bad`, and DataError for
    one without a direction.
    """
    count = len(images) - start
    decode = Decode(images.source, start, model.image_size, model.channels, work.max_pixels)
    workers = workers_for(count) if work.workers is None else work.workers
    with closing(in_order(decode, count, part=work.batch_size, workers=workers)) as parts:
        for part in parts:
            if not skip_bad:
                require_good(part)
            yield Embedded(part.stop, part.kept, _rows(model, images, part), part.bad, part.states)


def _rows(model: Model, images: Images, part: Decoded) -> Rows:
    return model.embed(part.pixels, name=lambda index: images.source.name(part.kept[index]))


def plan_of(model: Model, images: Images, work: Work) -> dict[str, Any]:
    """What decides the rows of a source to the last bit."""
    return {
        "model": model.card.identity,
        "source": images.fingerprint(),
        "batch_size": work.batch_size,
        "max_pixels": work.max_pixels,
    }


@contextmanager
def embedding(
    output: Path,
    model: Model,
    images: Images,
    work: Work,
    *,
    skip_bad: bool,
    overwrite: bool = False,
    anew: str = ANEW,
    if_changed: IfChanged = "refuse",
    progress: ShowProgress,
) -> Iterator[RowFile]:
    """The rows of a source, all of them, in the file from which `output` is made.

    A process that was killed meanwhile is gone on with. skip_bad: leave out the images that cannot be
    decoded. if_changed: what is done where a file with images that are embedded already was changed since.
    The rest as `writing`; raises what that and `embedded` raise, and ConfigError where images were left out
    before, and are not to be.
    """
    plan = plan_of(model, images, work)
    with writing(output, width=model.embedding_size, plan=plan, overwrite=overwrite, anew=anew) as file:
        if not skip_bad and file.journal.bad:
            raise ConfigError(
                f"{output} was begun with --skip-bad, and {len(file.journal.bad)} images were skipped; give "
                f"it again, or {anew}"
            )
        if file.journal.states != _states(images, file.journal.images, progress):
            says = f"{output}: of {file.journal.images:,} images that were embedded some were changed since"
            if if_changed == "refuse":
                raise ConfigError(f"{says}; {anew}")
            log.warning("%s, so all are embedded again", says)
            file.begin_anew()
        _fill(file, model, images, work, skip_bad, progress)
        yield file


def _states(images: Images, count: int, progress: ShowProgress) -> str:
    """What the first images are now, to be compared with what they were. Files are asked 16 at a time."""
    starts = range(0, count, ASKED)

    def of_some(start: int) -> list[str]:
        return [images.source.state(index) for index in range(start, min(start + ASKED, count))]

    found = ""
    with ThreadPoolExecutor(THREADS) as pool:
        for start, states in zip(starts, pool.map(of_some, starts), strict=True):
            found = chained(found, states)
            progress("comparing", start + len(states), count)
    return found


def embed_to_file(
    model: Model,
    images: Images,
    output: Path,
    work: Work,
    *,
    skip_bad: Path | None = None,
    overwrite: bool = False,
    progress: ShowProgress = no_progress,
) -> tuple[int, int]:
    """Write rows of norm 1, float32 [n, D], in the source's order -> how many, and how many were skipped.

    output: a `.npy`, beside which a `.txt` of the same name has a line `key<tab>class` for each row; or a
    `.parquet` with the columns key, class (where there are classes) and embedding. A process that was killed
    is gone on with by the same call, and the result is the same. skip_bad: a file for the keys of the images
    that cannot be decoded, which then have no row.

    Raises ConfigError for another name, where the output is there (unless `overwrite`), and where it was
    begun with another model, source or batch size; ImageError and DataError as `embedded` does.
    """
    if output.suffix not in (NPY, PARQUET):
        raise ConfigError(f"{output}: must end with {NPY} or {PARQUET}")
    if output.suffix == PARQUET:
        require_parquet()
    _require_free(output, overwrite)
    leaves_out = skip_bad is not None
    with embedding(
        output, model, images, work, skip_bad=leaves_out, overwrite=overwrite, progress=progress
    ) as file:
        bad, rows = file.journal.bad, file.journal.rows
        if skip_bad is not None:
            write_bad(skip_bad, images, bad)
        skipped = {index for index, _ in bad}
        listing = listing_of(output)
        if listing is None:
            write_parquet(output, file, images, skipped, model.card)
        else:
            sweep(listing)
            write_lines(listing, lines_of(images, skipped))
            file.to_npy()
        file.forget()
        return rows, len(bad)


def listing_of(output: Path) -> Path | None:
    """The file with the keys of a `.npy`, which is written beside it; None for any other output."""
    return output.with_suffix(".txt") if output.suffix == NPY else None


def _require_free(output: Path, overwrite: bool) -> None:
    """ConfigError where somebody's own file lies where the keys are to go, and nothing was begun."""
    listing = listing_of(output)
    begun = output.exists() or partial_of(output).exists()
    if listing is not None and listing.exists() and not (begun or overwrite):
        raise ConfigError(
            f"{listing}: exists already, and the keys of {output} go there; name another file, or replace it "
            "with --overwrite"
        )


def write_bad(path: Path, images: Images, bad: list[tuple[int, str]]) -> None:
    """A line for each image that was skipped: its key, and why."""
    sweep(path)
    write_lines(path, ((images.source.key(index), as_key(why)) for index, why in bad))


def lines_of(images: Images, skipped: set[int]) -> Iterator[tuple[str, str]]:
    r"""(key, class name) of each image that was not skipped; a line break in a name becomes `\n`."""
    for index, key in enumerate(images.source.each_key()):
        if index not in skipped:
            yield key, as_key(images.class_name(index))


def _fill(
    file: RowFile, model: Model, images: Images, work: Work, skip_bad: bool, progress: ShowProgress
) -> None:
    """Write the rows that are missing."""
    total = len(images)
    progress("embedding", file.journal.images, total)
    saved = time.monotonic()
    start = file.journal.images
    for number, part in enumerate(embedded(model, images, work, start=start, skip_bad=skip_bad), start=1):
        file.append(part.rows, images=part.stop, bad=part.bad, states=part.states)
        if number % SAVE_EVERY == 0 or time.monotonic() - saved > SAVE_SECONDS:
            file.save()
            saved = time.monotonic()
        progress("embedding", part.stop, total)
    file.save()
