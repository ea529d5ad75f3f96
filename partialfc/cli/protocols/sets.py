"""What the protocols on sets of images share: their options, and images to embeddings over the ranks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partialfc.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from partialfc.cli.protocols.setting import Setting
    from partialfc.data.benchmarks.image_set import ImageSet
    from partialfc.evaluation.bootstrap import Interval
    from partialfc.evaluation.scores.ranking import Ranking
    from partialfc.evaluation.scores.spread import Spread

MEASURED = "What is measured: one of these"
PANEL = "With all protocols but --pairs"
Far = Annotated[
    list[float] | None,
    typer.Option(
        "--far",
        metavar="RATE",
        help="False accept rate, as often as you like. --all-pairs: 1e-6, 1e-5 and 1e-4 where the set is "
        "large enough; --templates: 1e-6 to 1e-1; --pairs: 1e-3 and 1e-4.",
        rich_help_panel="With --pairs, --all-pairs and --templates",
        show_default=False,
    ),
]
Rank = Annotated[
    list[int] | None,
    typer.Option(
        "--rank",
        min=1,
        metavar="K",
        help="Rank-k or recall@k, as often as you like. --identification: 1, 5, 10 and 20; --retrieval: 1, "
        "10, 100 and 1000, In-Shop 1, 10, 20 and 30; --templates: 1, 5 and 10.",
        rich_help_panel="With --identification, --retrieval and --templates",
        show_default=False,
    ),
]
Gallery = Annotated[
    Path | None,
    typer.Option(
        help="Images among which those of --identification or --retrieval are looked for, their classes "
        "named alike; without it they are looked for among each other.",
        rich_help_panel="With --identification and --retrieval",
        show_default=False,
    ),
]
Depth = Annotated[
    int,
    typer.Option(
        "--class-depth",
        min=1,
        help="Levels from an image folder to its class folders, as data.class_depth.",
        rich_help_panel="With --all-pairs, --identification and --retrieval",
    ),
]
Only = Annotated[
    Path | None,
    typer.Option(
        help="File with the key of an image a line: take these of the source alone.",
        rich_help_panel="With --all-pairs, --identification and --retrieval",
        show_default=False,
    ),
]
LeaveOut = Annotated[
    Path | None,
    typer.Option(
        help="File with the key of an image a line: take all others.",
        rich_help_panel="With --all-pairs, --identification and --retrieval",
        show_default=False,
    ),
]
AsNorm = Annotated[
    Path | None,
    typer.Option(
        metavar="SOURCE",
        help="Images of other identities, a cohort against whose class means each score is normalised "
        "(AS-norm).",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
AsNormTop = Annotated[
    int,
    typer.Option(min=2, help="Nearest classes of the cohort that count.", rich_help_panel=PANEL),
]
SaveEmbeddings = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Write each set's embeddings.npy, as the network gives them, and its keys.txt.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
OPTIONS = frozenset({"as_norm", "as_norm_top", "save_embeddings"})
SOURCE_OPTIONS = frozenset({"class_depth", "only", "leave_out"})


def opened(path: Path, options: Mapping[str, Any], *, selected: bool = False) -> "ImageSet":
    """The images of a labelled source; selected: those of --only and --leave-out."""
    from partialfc.data.benchmarks.image_set import of_source
    from partialfc.data.sources.source import open_source

    chosen = {"only": options["only"], "leave_out": options["leave_out"]} if selected else {}
    # a .rec has no class folders, and --class-depth may be for another of the sources
    depth = options["class_depth"] if path.is_dir() else 1
    return of_source(open_source(path, class_depth=depth, **chosen))


def embedded(
    setting: "Setting", options: Mapping[str, Any], sets: Mapping[str, "ImageSet"]
) -> "list[Spread]":
    """The embeddings of each set, by its name, equal identities of all of them numbered alike; collective."""
    from partialfc.data.benchmarks.image_set import joined
    from partialfc.evaluation.scores.score_norm import calibrated
    from partialfc.evaluation.scores.spread import Spread

    embedder = setting.embedder
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
            )
        )
    means = cohort_of(setting, options)
    if means is None:
        return found
    with told_of(options["as_norm"]):
        return [calibrated(each, means, top=options["as_norm_top"]) for each in found]


def cohort_of(setting: "Setting", options: Mapping[str, Any]) -> "Spread | None":
    """The class means of --as-norm, where it is given; collective."""
    from partialfc.evaluation.scores.score_norm import class_means

    path = options["as_norm"]
    if path is None:
        return None
    images = opened(path, {"class_depth": options.get("class_depth", 1)})
    with told_of(path):
        (strangers,) = embedded(setting, {"as_norm": None, "save_embeddings": None}, {"cohort": images})
        return class_means(strangers)


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


@contextmanager
def told_of(path: Path) -> Iterator[None]:
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


def ranks_of(options: Mapping[str, Any], default: Sequence[int]) -> list[int]:
    """The k of --rank, rising."""
    return sorted(set(options["rank"] or default))
