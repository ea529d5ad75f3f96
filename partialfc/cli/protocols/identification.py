"""Identification among distractors, as MegaFace and TinyFace measure it: the option --identification."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partialfc.cli.protocols.protocol import Answer, Protocol
from partialfc.cli.protocols.set_options import MEASURED, OPTIONS, SOURCE_OPTIONS
from partialfc.cli.protocols.sets import (
    called,
    embedded,
    layout_folder,
    opened,
    rank_intervals,
    ranks_of,
    require_none,
    told_of,
)
from partialfc.errors import ConfigError

if TYPE_CHECKING:
    from partialfc.cli.protocols.setting import Setting
    from partialfc.data.benchmarks.image_set import ImageSet

PANEL = "With --identification"
RANKS = (1, 5, 10, 20)
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--identification",
        metavar="SOURCE",
        help="Rank-k of these probes among --distractors: what data.train takes, or TinyFace's folder. With "
        "--gallery, of each probe's best mate there; without, of each pair of probes of a class, as "
        "MegaFace.",
        rich_help_panel=MEASURED,
        show_default=False,
    ),
]
Distractors = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE",
        help="Images of nobody who is looked for: a folder with images at any depth, or what else "
        "data.train takes; as often as you like.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Noise = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="List of images to leave out, of probes, gallery and distractors, as those of InsightFace for "
        "MegaFace; as often as you like.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]


def _run(setting: "Setting", options: Mapping[str, Any]) -> Answer:
    from partialfc.evaluation.figures import Figures
    from partialfc.evaluation.scores.ranking import rank_mates

    places = options["identification"]
    sets = _sets(places, options)
    with told_of(called(places)):
        ranks = ranks_of(options, RANKS, _largest_rank(sets))
    spreads = dict(zip(sets, embedded(setting, options, sets), strict=True))
    probes = spreads.pop("probes")
    gallery = spreads.pop("gallery", None)
    distractors = list(spreads.values())
    one_mate = gallery is None
    others = distractors if gallery is None else [gallery, *distractors]
    with told_of(called(places)):
        found = rank_mates(
            probes, probes if gallery is None else gallery, others, ranks=ranks, leave_one_out=one_mate
        )
    if one_mate:
        rates: dict[str, float | None] = {f"rank-{k}": found.pairs_within(k) for k in ranks}
        mates = found.mates.astype(float)
        values = {f"rank-{k}": (found.reached[k] / mates.clip(min=1), mates) for k in ranks}
    else:
        weights = found.found.astype(float)
        rates = {f"rank-{k}": found.recall(k) for k in ranks}
        values = {f"rank-{k}": (found.best_within(k).astype(float), weights) for k in ranks}
    counts = {"probes": int(found.found.sum()), "without_mate": int((~found.found).sum())}
    if one_mate:
        counts["pairs"] = int(found.mates.sum())
    else:
        counts["gallery"] = len(gallery or ())
    counts["distractors"] = sum(map(len, distractors))
    figures = Figures(counts, rates, rank_intervals(setting, found, values), dtype=setting.embedder.dtype)
    return Answer(figures.describe(), figures.to_dict())


def _largest_rank(sets: "Mapping[str, ImageSet]") -> int:
    from partialfc.data.benchmarks.image_set import joined
    from partialfc.evaluation.scores.ranking import largest_rank

    labels = dict(zip(sets, joined(*sets.values()), strict=True))
    probes = labels.pop("probes")
    gallery = labels.get("gallery")
    others = list(labels.values())
    return largest_rank(probes, probes if gallery is None else gallery, others, leave_one_out=gallery is None)


def _sets(places: Sequence[str], options: Mapping[str, Any]) -> "dict[str, ImageSet]":
    from partialfc.data.benchmarks.noise import without_noise
    from partialfc.data.benchmarks.tinyface import read_tinyface, tinyface_folder

    folder = layout_folder(places)
    tinyface = None if folder is None else tinyface_folder(folder)
    if tinyface is not None:
        why = f"{folder} has TinyFace's gallery and distractors"
        require_none(options, ("gallery", "distractors", "only", "leave_out"), why)
        sets = dict(zip(("probes", "gallery", "distractors"), read_tinyface(tinyface), strict=True))
    else:
        sets = {"probes": opened(places, options, selected=True)}
        if options["gallery"]:
            sets["gallery"] = opened(options["gallery"], options)
        for number, each in enumerate(options["distractors"] or ()):
            sets[f"distractors-{number}"] = _distractors(each, options)
        if len(sets) == 1:
            raise ConfigError(
                "--identification looks for the probes in a gallery: give --distractors, --gallery or both; "
                "for each image among the others of the set take --retrieval"
            )
    return {name: without_noise(images, options["noise"] or []) for name, images in sets.items()}


def _distractors(place: str, options: Mapping[str, Any]) -> "ImageSet":
    """A folder's images at any depth, or those of another source."""
    from partialfc.data.benchmarks.image_set import files_below, of_files
    from partialfc.data.sources.source import holds_files

    path = Path(place)
    if path.is_dir() and not holds_files(path):
        files = files_below(path)
        return of_files(path, files, files).strangers()
    return opened([place], options).strangers()


IDENTIFICATION = Protocol(
    "identification", OPTIONS | SOURCE_OPTIONS | {"rank", "gallery", "distractors", "noise"}, _run
)
