"""Retrieval: is an image of the same class among the nearest? The option --retrieval of `evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partialfc.cli.protocols.protocol import Answer, Protocol
from partialfc.cli.protocols.sets import (
    MEASURED,
    OPTIONS,
    SOURCE_OPTIONS,
    embedded,
    opened,
    rank_intervals,
    ranks_of,
    told_of,
)
from partialfc.errors import ConfigError

if TYPE_CHECKING:
    from partialfc.cli.protocols.setting import Setting
    from partialfc.data.benchmarks.image_set import ImageSet

RANKS = (1, 10, 100, 1000)
IN_SHOP_RANKS = (1, 10, 20, 30)
Images = Annotated[
    Path | None,
    typer.Option(
        "--retrieval",
        metavar="SOURCE",
        help="Recall@k and mAP of each of these images among the others, or among --gallery: a folder of "
        "class folders, a .rec file, or the folder of Stanford Online Products or In-Shop.",
        rich_help_panel=MEASURED,
        show_default=False,
    ),
]


def _run(setting: "Setting", options: Mapping[str, Any]) -> Answer:
    from partialfc.evaluation.figures import Figures
    from partialfc.evaluation.scores.ranking import rank_mates

    path = options["retrieval"]
    sets, default = _sets(path, options)
    ranks = ranks_of(options, default)
    queries, *gallery = embedded(setting, options, sets)
    within = not gallery
    mates = queries if within else gallery[0]
    with told_of(path):
        found = rank_mates(queries, mates, [mates], ranks=ranks, leave_one_out=within)
    rates: dict[str, float | None] = {f"recall@{k}": found.recall(k) for k in ranks}
    rates["mAP"] = found.mean_average_precision()
    weights = found.found.astype(float)
    values = {f"recall@{k}": (found.best_within(k).astype(float), weights) for k in ranks}
    values["mAP"] = (found.average_precision.clip(min=0), weights)
    figures = Figures(
        {
            "queries": int(found.found.sum()),
            "without_mate": int((~found.found).sum()),
            "gallery": len(mates) - within,
        },
        rates,
        rank_intervals(setting, found, values),
        dtype=setting.embedder.dtype,
    )
    return Answer(figures.describe(), figures.to_dict())


def _sets(path: Path, options: Mapping[str, Any]) -> "tuple[dict[str, ImageSet], tuple[int, ...]]":
    """The queries, and the gallery where it is another set; and the usual k."""
    from partialfc.data.benchmarks.products import (
        in_shop_list,
        is_online_products,
        read_in_shop,
        read_online_products,
    )

    if path.is_dir() and (is_online_products(path) or in_shop_list(path)):
        for name in ("gallery", "only", "leave_out"):
            if options[name] is not None:
                raise ConfigError(
                    f"--{name.replace('_', '-')}: {path} says itself which images are queries and which are "
                    "the gallery; leave it out"
                )
        if is_online_products(path):
            return {"queries": read_online_products(path)}, RANKS
        queries, gallery = read_in_shop(path)
        return {"queries": queries, "gallery": gallery}, IN_SHOP_RANKS
    sets = {"queries": opened(path, options, selected=True)}
    if options["gallery"] is not None:
        sets["gallery"] = opened(options["gallery"], options)
    return sets, RANKS


RETRIEVAL = Protocol("retrieval", OPTIONS | SOURCE_OPTIONS | {"rank", "gallery"}, _run)
