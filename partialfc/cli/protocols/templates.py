"""Templates of several images, as IJB-B and IJB-C measure: the option --templates of `partialfc evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from partialfc.cli.protocols.protocol import Answer, Protocol
from partialfc.cli.protocols.set_options import MEASURED, OPTIONS
from partialfc.cli.protocols.sets import cohort_of, own_rows, ranks_of, told_of

if TYPE_CHECKING:
    from partialfc.cli.protocols.setting import Setting
    from partialfc.evaluation.figures import Figures

PANEL = "With --templates"
FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
RANKS = (1, 5, 10)
Folder = Annotated[
    Path | None,
    typer.Option(
        "--templates",
        metavar="FOLDER",
        help="1:1 and 1:N of templates of images: IJB-B or IJB-C, with meta/ and loose_crop/.",
        rich_help_panel=MEASURED,
        show_default=False,
    ),
]
Align = Annotated[
    bool,
    typer.Option(
        help="Cut the faces out by the landmarks of the lists; otherwise images are taken as they are.",
        rich_help_panel=PANEL,
    ),
]
DetectorScore = Annotated[
    bool,
    typer.Option(help="Weigh each image by how sure the detector was of its face.", rich_help_panel=PANEL),
]
NormWeight = Annotated[
    bool,
    typer.Option(
        help="Let the norm of an embedding weigh it too; otherwise all have norm 1.", rich_help_panel=PANEL
    ),
]
Missing = Annotated[
    Literal["error", "reject"],
    typer.Option(
        help="Of templates that have no image: an error, or whatever needs one is refused.",
        rich_help_panel=PANEL,
    ),
]


def _run(setting: "Setting", options: Mapping[str, Any]) -> Answer:
    from partialfc.data.benchmarks.ijb import read_templates
    from partialfc.evaluation.template_protocol import TemplateProtocol, largest_ranks
    from partialfc.evaluation.templates import pool

    path, embedder = options["templates"], setting.embedder
    found = read_templates(path)
    ranks: list[int] = []
    if found.probes is not None:
        galleries = [each.subjects for each in found.galleries]
        with told_of(path):
            ranks = ranks_of(options, RANKS, max(largest_ranks(found.probes.subjects, galleries)))
    cohort = cohort_of(setting, options, {"templates": found.images})
    images = found.aligned(max_pixels=embedder.max_pixels) if options["align"] else found.images
    with told_of(path):
        rows = own_rows(setting, images, options["save_embeddings"], "images").to(embedder.device)
        pooled = pool(
            rows,
            found.template,
            found.media,
            found.detector if options["detector_score"] else None,
            embedder.world,
            first=embedder.part(len(images)).start,
            norm=options["norm_weight"],
        )
        measured = TemplateProtocol(
            pooled,
            embedder.world,
            cohort=cohort,
            reject_missing=options["missing"] == "reject",
            replicates=setting.replicates,
            seed=setting.seed,
            dtype=embedder.dtype,
        )
        figures: dict[str, Figures] = {}
        if found.pairs is not None and found.same is not None:
            enrolled = [*found.galleries, *([found.probes] if found.probes else [])]
            subjects = {
                template: subject
                for each in enrolled
                for template, subject in zip(each.templates.tolist(), each.subjects.tolist(), strict=True)
            }
            figures["1:1"] = measured.verify(found.pairs, found.same, options["far"] or FARS, subjects)
        if found.probes is not None:
            figures |= measured.identify(
                (found.probes.templates, found.probes.subjects),
                [(each.templates, each.subjects) for each in found.galleries],
                ranks,
            )
    text = "\n".join(f"{name}: {each.describe()}" for name, each in figures.items())
    return Answer(text, {name: each.to_dict() for name, each in figures.items()})


TEMPLATES = Protocol(
    "templates",
    OPTIONS | {"align", "detector_score", "norm_weight", "missing", "far", "rank"},
    _run,
)
