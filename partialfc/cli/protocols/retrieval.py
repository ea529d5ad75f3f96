"""Retrieval: is an image of the same class among the nearest? The option --retrieval of `evaluate`."""

from collections.abc import Mapping, Sequence
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

if TYPE_CHECKING:
    from partialfc.cli.protocols.setting import Setting
    from partialfc.data.benchmarks.image_set import ImageSet

RANKS = (1, 10, 100, 1000)
IN_SHOP_RANKS = (1, 10, 20, 30)
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--retrieval",
        metavar="SOURCE",
        help="Recall@k and mAP of each of these images among the others, or among --gallery: what "
        "data.train takes, or the folder of Stanford Online Products or In-Shop.",
        rich_help_panel=MEASURED,
        show_default=False,
    ),
]


def _run(setting: "Setting", options: Mapping[str, Any]) -> Answer:
    from partialfc.data.benchmarks.image_set import joined
    from partialfc.evaluation.figures import Figures
    from partialfc.evaluation.scores.ranking import largest_rank, rank_mates

    places = options["retrieval"]
    sets, default = _sets(places, options)
    labels = joined(*sets.values())
    within = len(sets) == 1
    with told_of(called(places)):
        most = largest_rank(labels[0], labels[-1], [labels[-1]], leave_one_out=within)
        ranks = ranks_of(options, default, most)
    queries, *gallery = embedded(setting, options, sets)
    mates = queries if within else gallery[0]
    with told_of(called(places)):
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


def _sets(places: Sequence[str], options: Mapping[str, Any]) -> "tuple[dict[str, ImageSet], tuple[int, ...]]":
    """The queries, and the gallery where it is another set; and the usual k."""
    from partialfc.data.benchmarks.products import (
        in_shop_list,
        is_online_products,
        read_in_shop,
        read_online_products,
    )

    folder = layout_folder(places)
    if folder is not None and (is_online_products(folder) or in_shop_list(folder)):
        why = f"{folder} says itself which images are queries and which are the gallery"
        require_none(options, ("gallery", "only", "leave_out"), why)
        if is_online_products(folder):
            return {"queries": read_online_products(folder)}, RANKS
        queries, gallery = read_in_shop(folder)
        return {"queries": queries, "gallery": gallery}, IN_SHOP_RANKS
    sets = {"queries": opened(places, options, selected=True)}
    if options["gallery"]:
        sets["gallery"] = opened(options["gallery"], options)
    return sets, RANKS


RETRIEVAL = Protocol("retrieval", OPTIONS | SOURCE_OPTIONS | {"rank", "gallery"}, _run)
