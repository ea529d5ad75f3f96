"""The tables of docs/reference/losses.md: what each loss is, and its figures from margins.csv.

`python benchmarks/loss_tables.py` writes them into the page, each between its two markers.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from margin_table import Summary, summaries
from marked import filled
from table import read

import partialfc

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "margins.csv"
PAGE = ROOT / "docs" / "reference" / "losses.md"


@dataclass(frozen=True)
class Entry:
    """A line of a table. source: paper and place in it. measured: the loss's name in the CSV."""

    name: str  # in Python
    config: str  # in a config
    source: str
    measured: str

    @property
    def file(self) -> str:
        owner = getattr(partialfc, self.name.partition("(")[0], partialfc.PartialFC)
        return str(Path(inspect.getfile(owner)).relative_to(Path(partialfc.__file__).parents[1]))


L_SOFTMAX = "Liu et al. 2016 (arXiv:1612.02295)"
SPHEREFACE = "Liu et al. 2017 (arXiv:1704.08063)"
ARCFACE = "Deng et al. 2019 (arXiv:1801.07698)"
PARTIAL_FC = "An et al. 2022 (arXiv:2203.15565)"
ELASTIC = "Boutros et al. 2022 (arXiv:2109.09416)"
TRIPLET = "Hermans et al. 2017 (arXiv:1703.07737)"

MARGINS = (
    Entry("Softmax()", "softmax", f"{SPHEREFACE}, eq. 4", "Softmax"),
    Entry("Softmax(bias=True)", "softmax", f"{SPHEREFACE}, eq. 4", "Softmax, bias"),
    Entry("ModifiedSoftmax()", "modified_softmax", f"{SPHEREFACE}, eq. 5", "ModifiedSoftmax"),
    Entry(
        "NormalizedSoftmax()",
        "normalized_softmax",
        "Wang et al. 2017 (arXiv:1704.06369), eq. 6",
        "NormalizedSoftmax",
    ),
    Entry("LargeMarginSoftmax()", "large_margin_softmax", f"{L_SOFTMAX}, eq. 4, 6", "LargeMarginSoftmax"),
    Entry("SphereFace()", "sphereface", f"{SPHEREFACE}, eq. 7", "SphereFace"),
    Entry("CosFace()", "cosface", "Wang et al. 2018 (arXiv:1801.09414), eq. 4", "CosFace"),
    Entry("ArcFace()", "arcface", f"{ARCFACE}, eq. 3", "ArcFace"),
    Entry("CombinedMargin()", "combined", f"{ARCFACE}, eq. 4", "CombinedMargin"),
    Entry("MVSoftmax(base)", "mv_softmax", "Wang et al. 2020 (arXiv:1912.00833), function h", "MVSoftmax"),
    Entry(
        "CurricularFace()",
        "curricularface",
        "Huang et al. 2020 (arXiv:2004.00288), T, N and eq. 9",
        "CurricularFace",
    ),
    Entry("MagFace()", "magface", "Meng et al. 2021 (arXiv:2103.06627), eq. 3", "MagFace"),
    Entry("AdaFace()", "adaface", "Kim et al. 2022 (arXiv:2204.00964), eq. 16 to 19", "AdaFace"),
    Entry("ElasticFace()", "elasticface", f"{ELASTIC}, eq. 6, 7", "ElasticFace"),
    Entry(
        "ElasticFace(plus=True)", "elasticface", f"{ELASTIC}, ElasticFace-Arc+, -Cos+", "ElasticFace, plus"
    ),
    Entry(
        "SubCenter(base=ArcFace())",
        "head.sub_centers",
        "Deng et al. 2020 (ECCV; arXiv:1801.07698v4, eq. 7)",
        "SubCenter",
    ),
)

OPTIONS = (
    Entry(
        "class_margins",
        "head.class_margins, head.margins_by_size",
        "Ha et al. 2020 (arXiv:2010.05350)",
        "CosFace, class margins",
    ),
    Entry("interclass_filter", "head.interclass_filter", f"{PARTIAL_FC}, section 3.4", "CosFace, filter"),
    Entry("sample_rate", "head.sample_rate", PARTIAL_FC, "CosFace, r = 0.2"),
    Entry(
        "logit_correction",
        "head.logit_correction",
        "log of 1 / inclusion probability",
        "CosFace, r = 0.2, correction",
    ),
)

BESIDE = (
    Entry("CenterLoss(D, C)", "center", "Wen et al. 2016 (ECCV), eq. 2 to 4", "CosFace + CenterLoss"),
    Entry(
        "CenterLoss(head=head)",
        "center",
        "the same, with the head's centres",
        "CosFace + CenterLoss of the head",
    ),
    Entry(
        "ContrastiveLoss()", "contrastive", "Hadsell et al. 2006 (CVPR), eq. 4", "CosFace + ContrastiveLoss"
    ),
    Entry(
        "AngularContrastiveLoss()",
        "angular_contrastive",
        "Choi et al. 2020 (arXiv:2004.09805)",
        "CosFace + AngularContrastiveLoss",
    ),
    Entry('TripletLoss(mining="all")', "triplet", f"{TRIPLET}, eq. 6", "CosFace + TripletLoss, all"),
    Entry('TripletLoss(mining="hard")', "triplet", f"{TRIPLET}, eq. 5", "CosFace + TripletLoss, hard"),
    Entry(
        'TripletLoss(mining="semihard")',
        "triplet",
        "Schroff et al. 2015 (arXiv:1503.03832), section 3.2",
        "CosFace + TripletLoss, semihard",
    ),
)


def margins() -> str:
    return _table("margin", "`head.margin.name`", MARGINS)


def options() -> str:
    return _table("argument of `PartialFC`", "in a config", OPTIONS)


def beside() -> str:
    return _table("loss", "`losses`, `name`", BESIDE)


def settings() -> str:
    """What was measured, and with what."""
    lines = ["| measured | settings | compared with |", "|---|---|---|"]
    lines += [f"| {each.loss} | `{each.settings}` | {_other(each) or ''} |" for each in _figures().values()]
    return "\n".join([*lines, "", _budget()])


def _table(first: str, config: str, entries: tuple[Entry, ...]) -> str:
    figures = _figures()
    lines = [
        f"| {first} | {config} | from | file | pair accuracy, % | TAR at FAR 1e-3, % |",
        "|---|---|---|---|---|---|",
    ]
    for entry in entries:
        keys = ", ".join(f"`{key}`" for key in entry.config.split(", "))
        about = [f"`{entry.name}`", keys, entry.source, f"`{entry.file}`"]
        lines.append(f"| {' | '.join([*about, *cells(figures.get(entry.measured))])} |")
    return "\n".join(lines)


def cells(figures: Summary | None) -> Iterator[str]:
    """Mean, standard deviation, and the difference to the loss it is compared with: bold if significant."""
    if figures is None:
        yield from ("not measured", "not measured")
        return
    for score, (mean, spread) in figures.scores.items():
        cell = f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"
        difference = figures.differences.get(score)
        if difference:
            shown = f"{difference.mean:+.2f}".replace("-", "−")
            cell += f" (**{shown}**)" if difference.significant else f" ({shown})"
        yield cell


def _other(figures: Summary) -> str | None:
    return None if figures.against == figures.loss else figures.against


def _figures() -> Mapping[str, Summary]:
    return {each.loss: each for each in summaries(read(FIGURES))}


def _budget() -> str:
    """What all rows have in common, in words."""
    rows = read(FIGURES)
    row = rows[0]
    seeds, machines = sorted({row["seed"] for row in rows}), sorted({row["machine"] for row in rows})
    versions = sorted({row["torch"] for row in rows})
    return (
        f"Seeds {', '.join(seeds)}; {row['steps']} steps of 64 images of {row['classes']} characters; "
        f"{int(row['genuine_pairs']):,} genuine and {int(row['impostor_pairs']):,} impostor pairs of "
        f"{row['unseen']} others; {', '.join(machines)}; torch {', '.join(versions)}."
    )


TABLES = {
    "margins": margins,
    "head_options": options,
    "losses_beside_the_head": beside,
    "loss_settings": settings,
}


def written(text: str) -> str:
    """The text of a page with the table between each two markers as it is now."""
    return filled(text, TABLES)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
