"""What the protocols on sets of images share: from the images of sources to embeddings over the ranks."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partialfc.errors import ConfigError, DataError
from partialfc.files import require_folder

if TYPE_CHECKING:
    import numpy as np

    from partialfc.cli.protocols.setting import Setting
    from partialfc.data.benchmarks.image_set import ImageSet
    from partialfc.evaluation.bootstrap import Interval
    from partialfc.evaluation.scores.ranking import Ranking
    from partialfc.evaluation.scores.score_norm import Cohort
    from partialfc.evaluation.scores.spread import Spread, Tile

log = logging.getLogger(__name__)

SOURCES = ("all_pairs", "identification", "retrieval", "gallery", "distractors", "as_norm")
TOP = 300


def opened(places: Sequence[str], options: Mapping[str, Any], *, selected: bool = False) -> "ImageSet":
    """The images of what `data.train` may name; selected: those of --only and --leave-out.

    --class-depth and --root are for those sources that have a use for them; ConfigError where none has.
    """
    from partialfc.data.benchmarks.image_set import of_source
    from partialfc.data.sources.source import open_source
    from partialfc.data.sources.text_list import is_list

    def folders(some: Sequence[str]) -> bool:
        return any(Path(place).is_dir() for place in some)

    def lists(some: Sequence[str]) -> bool:
        return any(map(is_list, some))

    everything = [place for name in SOURCES for place in options.get(name) or ()]
    for name, users, what in (("class_depth", folders, "folder of images"), ("root", lists, "text list")):
        if options[name] not in (1, None) and not users(everything):
            raise ConfigError(f"{option(name)} is {options[name]}, but no SOURCE is a {what}; leave it out")
    chosen = {"only": options["only"], "leave_out": options["leave_out"]} if selected else {}
    depth = options["class_depth"] if folders(places) else 1
    root = options["root"] if lists(places) else None
    return of_source(open_source(places, class_depth=depth, root=root, **chosen))


def layout_folder(places: Sequence[str]) -> Path | None:
    """The folder that may have the layout of a benchmark, where one folder alone is named."""
    return Path(places[0]) if len(places) == 1 and Path(places[0]).is_dir() else None


def require_none(options: Mapping[str, Any], names: Sequence[str], why: str) -> None:
    """ConfigError where one of the options is given."""
    for name in names:
        if options[name]:
            raise ConfigError(f"{option(name)}: {why}; leave it out")


def option(name: str) -> str:
    """As the command line has it: --leave-out for leave_out."""
    return f"--{name.replace('_', '-')}"


def embedded(
    setting: "Setting", options: Mapping[str, Any], sets: Mapping[str, "ImageSet"]
) -> "list[Spread]":
    """The embeddings of each set, by its name, equal identities of all of them numbered alike; collective."""
    from partialfc.data.benchmarks.image_set import joined
    from partialfc.evaluation.scores.spread import Spread

    require_apart(sets)
    setting, tile = _compared(setting, options)
    embedder = setting.embedder
    cohort = cohort_of(setting, options, sets)
    found = []
    for (name, images), labels in zip(sets.items(), joined(*sets.values()), strict=True):
        rows = own_rows(setting, images, options["save_embeddings"], name)
        part = embedder.part(len(images))
        found.append(
            Spread.of(
                rows.to(embedder.device),
                labels[part.start : part.stop],
                embedder.world,
                name=_named(images, part.start),
                tile=tile,
            )
        )
    return found if cohort is None else [cohort.calibrate(each) for each in found]


def _compared(setting: "Setting", options: Mapping[str, Any]) -> "tuple[Setting, Tile | None]":
    """With the network that --score asks for, and how what it gives is compared."""
    from dataclasses import replace

    from partialfc.deploy.matching import matcher

    if options.get("score") != "mls":
        return setting, None
    require_none(options, ["as_norm"], "a cohort's classes have no mean Gaussian; take --score cosine")
    by = matcher(setting.trained, "mls")
    return replace(setting, embedder=by.embedder(setting.embedder)), by.tile


def require_apart(sets: Mapping[str, "ImageSet"]) -> None:
    """DataError where an image is in two of the sets: it would be searched for beside itself."""
    for (one, images), (other, others) in combinations(sets.items(), 2):
        names = {images.name(number) for number in range(len(images))}
        both = [name for name in map(others.name, range(len(others))) if name in names]
        if both:
            raise DataError(
                f"{len(both)} images are among both {one} and {other}, such as {both[0]}, and would be "
                "compared with themselves; each image must be in one of them only"
            )


def cohort_of(
    setting: "Setting", options: Mapping[str, Any], sets: Mapping[str, "ImageSet"] | None = None
) -> "Cohort | None":
    """The class means of --as-norm, where it is given; collective. sets: what its scores normalise.

    Raises ConfigError where --as-norm-top is more than its classes, or there is but one; DataError where it
    has images of the sets.
    """
    import numpy as np

    from partialfc.evaluation.scores.score_norm import Cohort, class_means

    places, asked = options["as_norm"], options["as_norm_top"]
    if not places:
        require_none(options, ["as_norm_top"], "it counts classes of a cohort, and --as-norm names none")
        return None
    images = opened(places, options)
    for name, each in (sets or {}).items():
        require_apart({name: each, "--as-norm": images})
        if not setting.embedder.world.rank:
            _warn_of_names(called(places), images, each)
    classes = len(np.unique(images.labels))
    if classes < 2:
        raise ConfigError(
            f"--as-norm is {called(places)}, with images of one class: scores are measured against two "
            "classes at least, better hundreds"
        )
    if asked is not None and asked > classes:
        raise ConfigError(
            f"--as-norm-top is {asked}: {called(places)} has {classes} classes, so it must be 2..{classes}"
        )
    if asked is None and classes < TOP:
        log.info("--as-norm-top is %d, all classes of %s", classes, called(places))
    with told_of(called(places)):
        nothing = dict.fromkeys(("as_norm", "as_norm_top", "save_embeddings"))
        (strangers,) = embedded(setting, nothing, {"cohort": images})
        return Cohort(class_means(strangers), min(asked or TOP, classes))


def _warn_of_names(cohort: str, strangers: "ImageSet", images: "ImageSet") -> None:
    """The identities of a cohort that are called as some that are compared are probably these."""
    own, others = (_names(each) for each in (strangers, images))
    if both := sorted(own & others):
        log.warning(
            "--as-norm %s: %d of its %d classes are named as classes of %s are, such as %s: a cohort must "
            "show others than those who are compared; take these out, unless only the names are alike",
            *(cohort, len(both), len(own), images.origin, both[0]),
        )


def _names(images: "ImageSet") -> set[str]:
    """Of the identities that have images, where they have names of their own."""
    numbers = set(images.labels[images.labels >= 0].tolist()) if images.named else set()
    return {images.identities[number] for number in numbers}


def _named(images: "ImageSet", first: int) -> Callable[[int], str]:
    """What a rank whose part begins at `first` calls its images."""
    return lambda number: images.name(first + number)


def own_rows(setting: "Setting", images: "ImageSet", folder: Path | None, name: str) -> Any:
    """This rank's rows [n, D], as the network gives them, and saved where asked for; collective."""
    from partialfc.evaluation.saved import save_embeddings

    rows = setting.embedder.own(images, name=images.name)
    if folder is not None:
        save_embeddings(folder / name, rows, images.keys(), setting.embedder.world)
    return rows


def require_place(folder: Path | None, *, overwrite: bool) -> None:
    """ConfigError where embeddings cannot be saved there, or others lie there that may not be replaced."""
    from partialfc.evaluation.saved import EMBEDDINGS

    if folder is None:
        if overwrite:
            raise ConfigError("--overwrite is for --save-embeddings, which is not there: leave it out")
        return
    require_folder("--save-embeddings", folder)
    there = next(folder.glob(f"*/{EMBEDDINGS}"), None)
    if there is not None and not overwrite:
        raise ConfigError(
            f"--save-embeddings: {there} exists; name another folder, or replace it with --overwrite"
        )


def called(places: Sequence[str]) -> str:
    """Several sources in messages."""
    return " and ".join(places)


@contextmanager
def told_of(path: str | Path) -> Iterator[None]:
    """Errors in what a user gave name the path."""
    try:
        yield
    except DataError as error:
        raise error if str(path) in str(error) else type(error)(f"{path}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def rank_intervals(
    setting: "Setting", found: "Ranking", values: "Mapping[str, tuple[np.ndarray, np.ndarray]]"
) -> "dict[str, Interval | None]":
    """By name, of means of values [Q] with weights [Q] over the queries; on rank 0, which prints them."""
    from partialfc.evaluation.figures import mean_interval

    if not setting.replicates or setting.embedder.world.rank:
        return {}
    return {
        name: mean_interval(each, weights, found.classes, replicates=setting.replicates, seed=setting.seed)
        for name, (each, weights) in values.items()
    }


def ranks_of(options: Mapping[str, Any], default: Sequence[int], most: int) -> list[int]:
    """The k of --rank, or those of the default that are not above `most`, rising.

    most: as `largest_rank` gives it. Raises ConfigError for one above it that was asked for.
    """
    asked = options["rank"]
    if asked and max(asked) > most:
        raise ConfigError(
            f"--rank is {max(asked)}: no search meets more than {most} images of other classes, so that any "
            f"mate is among the first {max(asked)}, whatever the network; it must be 1..{most}"
        )
    if beyond := [str(k) for k in default if k > most and not asked]:
        log.info(
            "no search meets more than %d images of other classes: without rank %s", most, ", ".join(beyond)
        )
    return sorted({k for k in asked or default if k <= most})
