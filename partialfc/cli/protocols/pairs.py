"""Verification: do both images of a pair show the same class? The option --pairs of `partialfc evaluate`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from partialfc.cli.arguments import Score
from partialfc.cli.protocols.protocol import Answer, Protocol
from partialfc.errors import ConfigError, DataError, PairsError

if TYPE_CHECKING:
    from partialfc.cli.protocols.setting import Setting
    from partialfc.evaluation.verification import Verification

PANEL = "With --pairs"
Pairs = Annotated[
    list[Path] | None,
    typer.Option(
        help="Verification on a pair file, as often as you like: .bin in InsightFace's format, a text list, "
        "or a published protocol.",
        rich_help_panel="What is measured: one of these",
        show_default=False,
    ),
]
Images = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of the images that a list names; default: the list's own. Once for all lists, or once "
        "for each, in the order of --pairs.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Number of folds in which the threshold is cross-validated; default: the list's own, or 10.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Video = Annotated[
    Literal["embeddings", "scores"],
    typer.Option(
        help="Pairs of videos: the cosine of the means of their frames' embeddings, or the mean of all "
        "cosines between frames.",
        rich_help_panel=PANEL,
    ),
]
PairScore = Annotated[
    Score,
    typer.Option(
        help="cosine, or mls: the likelihood of Gaussians; auto: mls with --pairs for a run that has them, "
        "else cosine.",
        rich_help_panel="With --pairs, --all-pairs, --identification and --retrieval",
    ),
]


def _run(setting: "Setting", options: Mapping[str, Any]) -> Answer:
    folders = folders_of(options["pairs"], options["images"])
    found = {str(path): _evaluated(setting, path, images, options) for path, images in folders.items()}
    if len(found) == 1:
        (result,) = found.values()
        return Answer(result.describe(), result.to_dict())
    text = "\n".join(f"{path}: {result.describe()}" for path, result in found.items())
    return Answer(text, {path: result.to_dict() for path, result in found.items()})


def folders_of(pairs: Sequence[Path], images: Sequence[Path] | None) -> dict[Path, Path | None]:
    """Each pair file, and the folder of --images that is for it; none is for a .bin, which has its images.

    Raises ConfigError where there are neither one nor as many folders as other pair files.
    """
    paths = [*dict.fromkeys(pairs)]
    lists = [path for path in paths if path.suffix.lower() != ".bin"]
    if not images:
        return dict.fromkeys(paths)
    if not lists:
        raise ConfigError(f"--images is {images[0]}: {paths[0]} has its images inside: leave --images out")
    if len(images) not in (1, len(lists)):
        raise ConfigError(
            f"--images is given {len(images)} times, and {len(lists)} of the pair files name images: give it "
            "once for all of them, or once for each, in their order"
        )
    folders = dict(zip(lists, images if len(images) > 1 else [images[0]] * len(lists), strict=True))
    return {path: folders.get(path) for path in paths}


def _evaluated(
    setting: "Setting", path: Path, images: Path | None, options: Mapping[str, Any]
) -> "Verification":
    from partialfc.data.pairs.files import read_pairs_or_videos
    from partialfc.deploy.matching import matcher
    from partialfc.deploy.verification import all_figures, evaluate_matched
    from partialfc.evaluation.verification import FARS

    with naming(path):
        pairs = read_pairs_or_videos(path, images=images)
        by = matcher(setting.trained, options["score"])
        found = evaluate_matched(
            setting.embedder,
            by,
            pairs,
            folds=options["folds"],
            fars=options["far"] or FARS,
            video=options["video"],
        )
        if setting.embedder.world.rank:
            return found.result
        return all_figures(found, by, pairs, replicates=setting.replicates, seed=setting.seed)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the block says which pair file it is about."""
    try:
        yield
    except (ConfigError, PairsError):  # which name their own
        raise
    except DataError as error:
        raise type(error)(f"{path}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


VERIFICATION = Protocol("pairs", frozenset({"images", "folds", "far", "score", "video"}), _run)
