"""The `partialfc evaluate` command: what it takes for every protocol, and which protocol it runs."""

from typing import Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, Amp, AsJson, Flip, MaxPixels, Model
from partialfc.cli.groups import Network, grouped
from partialfc.cli.protocols import all_pairs as of_all_pairs
from partialfc.cli.protocols import identification as of_identification
from partialfc.cli.protocols import retrieval as of_retrieval
from partialfc.cli.protocols import set_options as sets
from partialfc.cli.protocols import templates as of_templates
from partialfc.cli.protocols.pairs import VERIFICATION, Folds, Images, Pairs, PairScore, Video
from partialfc.cli.protocols.protocol import choose
from partialfc.cli.values import require_rates
from partialfc.files import json_text

PROTOCOLS = (
    VERIFICATION,
    of_all_pairs.ALL_PAIRS,
    of_identification.IDENTIFICATION,
    of_retrieval.RETRIEVAL,
    of_templates.TEMPLATES,
)


@grouped
def evaluate(
    *,
    context: typer.Context,
    checkpoint: Model,
    pairs: Pairs = None,
    images: Images = None,
    folds: Folds = None,
    video: Video = "embeddings",
    score: PairScore = "auto",
    all_pairs: of_all_pairs.Images = None,
    groups: of_all_pairs.Groups = None,
    identification: of_identification.Images = None,
    distractors: of_identification.Distractors = None,
    noise: of_identification.Noise = None,
    retrieval: of_retrieval.Images = None,
    templates: of_templates.Folder = None,
    align: of_templates.Align = True,
    detector_score: of_templates.DetectorScore = True,
    norm_weight: of_templates.NormWeight = True,
    missing: of_templates.Missing = "error",
    gallery: sets.Gallery = None,
    far: sets.Far = None,
    rank: sets.Rank = None,
    class_depth: sets.Depth = 1,
    root: sets.Root = None,
    only: sets.Only = None,
    leave_out: sets.LeaveOut = None,
    as_norm: sets.AsNorm = None,
    as_norm_top: sets.AsNormTop = None,
    save_embeddings: sets.SaveEmbeddings = None,
    overwrite: sets.Overwrite = False,
    flip: Annotated[
        Flip,
        typer.Option(
            help="The mirrored image's embedding: added (sum), or set behind the image's own (concat)."
        ),
    ] = "none",
    amp: Annotated[
        Amp,
        typer.Option(
            help="Type that the network is autocast to; run: what the run verified in; auto: bfloat16 where "
            "the device has instructions for it; none: float32."
        ),
    ] = "run",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 256,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0, help="Draws of identities for the 95 % interval of each figure; 0: no intervals."
        ),
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of those draws.")] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    network: Network,
    as_json: AsJson = False,
) -> None:
    """Measure on images that it has never seen how good a trained network is.

    On N GPUs, start a process for each, and they share the images: torchrun --nproc-per-node N -m partialfc
    evaluate MODEL --pairs FILE.
    """
    protocol, options = choose(PROTOCOLS, context)
    require_rates("--far", far or ())

    from partialfc.cli.protocols.sets import require_place
    from partialfc.cli.protocols.setting import Setting, embedder_of, ranks
    from partialfc.distributed.device import local_device

    require_place(save_embeddings, overwrite=overwrite)
    local_device(network.device, name="--device")
    trained = network.load(checkpoint)
    with ranks(network.device) as (world, own):
        embedder = embedder_of(
            trained, world, own, flip=flip, amp=amp, batch_size=batch_size, max_pixels=max_pixels
        )
        answer = protocol.run(Setting(trained, embedder, replicates=bootstrap, seed=seed), options)
        if world.rank == 0:
            print(json_text(answer.values) if as_json else answer.text)
