"""The `partialfc compare` command."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partialfc.cli.arguments import MAX_PIXELS, Amp, AsJson, Flip, MaxPixels, Score, Video
from partialfc.cli.groups import Network, grouped
from partialfc.files import json_text

if TYPE_CHECKING:
    from partialfc.data.pairs.files import PairSet, VideoPairs
    from partialfc.deploy.trained import Trained
    from partialfc.evaluation.comparison import Side
    from partialfc.evaluation.embedder import Embedder


@grouped
def compare(
    *,
    first: Annotated[
        Path,
        typer.Argument(help="A model, as evaluate takes it: a run, an .onnx.", show_default=False),
    ],
    second: Annotated[Path, typer.Argument(help="Another one.", show_default=False)],
    pairs: Annotated[
        list[Path],
        typer.Option(help="Pair file as evaluate takes, as often as you like.", show_default=False),
    ],
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of the images that a list names, as evaluate's.", show_default=False),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Number of folds; default: the list's own, or 10.")
    ] = None,
    far: Annotated[
        list[float] | None,
        typer.Option(metavar="RATE", help="False accept rate, as often as you like; default: 1e-3, 1e-4."),
    ] = None,
    video: Annotated[
        Video, typer.Option(help="How pairs of videos are compared, as evaluate's.")
    ] = "embeddings",
    score: Annotated[Score, typer.Option(help="How pairs are matched, as evaluate's.")] = "auto",
    flip: Annotated[Flip, typer.Option(help="The mirrored image's embedding, as evaluate's.")] = "none",
    amp: Annotated[
        Amp, typer.Option(help="Type that the networks are autocast to; run: what each run verified in.")
    ] = "run",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 256,
    bootstrap: Annotated[
        int, typer.Option(min=1, help="Draws of identities for the intervals and p-values.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of those draws.")] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    network: Network,
    as_json: AsJson = False,
) -> None:
    """Say whether a trained network is better than another one on the same pairs, or by chance.

    The differences are the second's figures less the first's, with intervals and p-values of a paired
    bootstrap by identity, and McNemar's test on the decisions.
    """
    from partialfc.cli.protocols.pairs import folders_of, naming
    from partialfc.cli.protocols.setting import embedder_of, ranks
    from partialfc.cli.run_names import names_of
    from partialfc.cli.values import require_rates
    from partialfc.data.pairs.files import read_pairs_or_videos
    from partialfc.deploy.trained import is_weights
    from partialfc.distributed.device import local_device
    from partialfc.evaluation.comparison import compare as compared
    from partialfc.evaluation.verification import FARS

    require_rates("--far", far or ())
    folders = folders_of(pairs, images)
    local_device(network.device, name="--device")
    trained = [
        replace(network, backbone=network.backbone if is_weights(run) else None).load(run)
        for run in (first, second)
    ]
    how: dict[str, Any] = {"folds": folds, "fars": far or FARS, "video": video}
    found = {}
    with ranks(network.device) as (world, own):
        embedders = [
            embedder_of(each, world, own, flip=flip, amp=amp, batch_size=batch_size, max_pixels=max_pixels)
            for each in trained
        ]
        for path, folder in folders.items():
            with naming(path):
                read = read_pairs_or_videos(path, images=folder)
                sides = [
                    _side(each, embedder, score, read, **how)
                    for each, embedder in zip(trained, embedders, strict=True)
                ]
                if world.rank == 0:
                    found[str(path)] = compared(
                        sides[0],
                        sides[1],
                        read.same,
                        read.identities,
                        folds=read.fold_numbers(folds),
                        replicates=bootstrap,
                        seed=seed,
                    )
        if world.rank:
            return
    if as_json:
        values = {name: each.to_dict() for name, each in found.items()}
        print(json_text(values if len(values) > 1 else next(iter(values.values()))))
        return
    short = [*names_of([first, second])]
    called = short if len(short) == 2 else ["first", "second"]
    for name, each in found.items():
        dtypes = " and ".join(dict.fromkeys(str(side.dtype) for side in (each.first, each.second)))
        print(f"{name}: {each.first.pairs} pairs in {dtypes}")
        print(each.describe(called[0], called[1]))


def _side(
    trained: "Trained", embedder: "Embedder", score: Score, pairs: "PairSet | VideoPairs", **how: Any
) -> "Side":
    from partialfc.deploy.matching import matcher
    from partialfc.deploy.verification import evaluate_matched, neighbours_of
    from partialfc.evaluation.comparison import Side
    from partialfc.evaluation.nearest import with_rank1

    by = matcher(trained, score)
    found = evaluate_matched(embedder, by, pairs, **how)
    neighbours = neighbours_of(found, by, pairs) if embedder.world.rank == 0 else None
    result = found.result if neighbours is None else with_rank1(found.result, neighbours, replicates=0)
    return Side(result, found.scores, neighbours)
