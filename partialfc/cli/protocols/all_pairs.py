"""All pairs of a labelled source, as MFR measures: the option --all-pairs of `partialfc evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partialfc.cli.protocols.protocol import Answer, Protocol
from partialfc.cli.protocols.set_options import MEASURED, OPTIONS, SOURCE_OPTIONS
from partialfc.cli.protocols.sets import called, embedded, opened, told_of

if TYPE_CHECKING:
    from partialfc.cli.protocols.setting import Setting
    from partialfc.evaluation.figures import Figures
    from partialfc.evaluation.scores.spread import Spread

FARS = (1e-6, 1e-5, 1e-4)
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--all-pairs",
        metavar="SOURCE",
        help="Verification on all pairs of these images, as MFR: what data.train takes.",
        rich_help_panel=MEASURED,
        show_default=False,
    ),
]
Groups = Annotated[
    Path | None,
    typer.Option(
        help="File with an image's key, a tab and a group a line: the rates of each group's own pairs, too.",
        rich_help_panel="With --all-pairs",
        show_default=False,
    ),
]


def _run(setting: "Setting", options: Mapping[str, Any]) -> Answer:
    from partialfc.data.benchmarks.groups import read_groups

    images = opened(options["all_pairs"], options, selected=True)
    groups = {} if options["groups"] is None else read_groups(options["groups"], images)
    (spread,) = embedded(setting, options, {"images": images})
    with told_of(called(options["all_pairs"])):
        found = {"all": _figures(setting, spread, options["far"])}
    for name, chosen in groups.items():
        with told_of(options["groups"]), told_of_group(name):
            found[name] = _figures(setting, spread.only(chosen), options["far"])
    if not groups:
        return Answer(found["all"].describe(), found["all"].to_dict())
    lines = [f"{name}: {figures.describe()}" for name, figures in found.items()]
    values = {**found.pop("all").to_dict(), "groups": {name: each.to_dict() for name, each in found.items()}}
    return Answer("\n".join(lines), values)


def told_of_group(name: str) -> Any:
    """Errors name the group."""
    return told_of(f"group {name}")


def _figures(setting: "Setting", spread: "Spread", asked: list[float] | None) -> "Figures":
    import numpy as np

    from partialfc.evaluation.figures import Figures
    from partialfc.evaluation.scores.all_pairs import MOST_KEPT, all_pairs, allowed_at
    from partialfc.evaluation.scores.pair_tiles import PairTiles
    from partialfc.evaluation.scores.spread import SIDE
    from partialfc.evaluation.verification import tar_key

    _, impostors = PairTiles(spread, None, SIDE).count()
    fars = asked or [far for far in FARS if allowed_at(far, impostors) < MOST_KEPT]
    found = all_pairs(spread, fars=fars, replicates=setting.replicates, seed=setting.seed)
    return Figures(
        {
            "images": len(spread),
            "classes": len(np.unique(spread.all_classes)),
            "genuine_pairs": found.genuine,
            "impostor_pairs": found.impostors,
        },
        {tar_key(far): tar for far, tar in found.tar.items()},
        {tar_key(far): each for far, each in found.intervals.items()},
        {tar_key(far): threshold for far, threshold in found.thresholds.items()},
        dtype=setting.embedder.dtype,
    )


ALL_PAIRS = Protocol("all_pairs", OPTIONS | SOURCE_OPTIONS | {"far", "groups"}, _run)
