"""What stands on the page of the looks at images: hardest pairs, class sizes, the map."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from partialfc.report.page import Html, data_url, image, paragraph, plain, table
from partialfc.report.run_page.chart import Axis, Chart, Series, as_json
from partialfc.report.run_page.chosen import IDENTITIES, colours_of
from partialfc.report.run_page.looks import EmbeddingMap, HardPair, HardPairs, SizeBin
from partialfc.report.run_page.runs import Run

SIDE = 72  # pixels of an image on a map's card


def hard_pair_blocks(found: HardPairs) -> list[Html]:
    """Two rows of pairs: the worst false accepts, and the worst false rejects."""
    said = paragraph(
        f"At the threshold {found.threshold:.4f}, {found.accepted:,} impostor pairs are accepted and "
        f"{found.rejected:,} genuine pairs are rejected; pairs beyond it are framed in red."
    )
    return [
        said,
        Html("<h4>Different identities, most alike</h4>"),
        _pairs((each, each.score >= found.threshold) for each in found.false_accepts),
        Html("<h4>One identity, least alike</h4>"),
        _pairs((each, each.score < found.threshold) for each in found.false_rejects),
    ]


def _pairs(pairs: Iterable[tuple[HardPair, bool]]) -> Html:
    """Each pair, with whether it is decided wrongly."""
    return Html(f'<div class="pairs">{"".join(_pair(*each) for each in pairs)}</div>')


def _pair(pair: HardPair, wrong: bool) -> str:
    images = "".join(image(each, missing="not shown") for each in (pair.first, pair.second))
    return (
        f'<figure class="pair{" suspect" if wrong else ""}"><div>{images}</div>'
        f"<figcaption>pair {pair.index:,}<small>score {pair.score:.4f}{', wrong' if wrong else ''}</small>"
        "</figcaption></figure>"
    )


def class_size_chart(runs: Sequence[Run]) -> Chart:
    """The accuracy over the class size, of each run, at the middle of each range of sizes."""
    several = len(runs) > 1
    series = [
        _by_size(run.name, run.looks.classes, place, several)
        for place, run in enumerate(runs)
        if run.looks.classes
    ]
    return Chart(
        "class-sizes",
        "Class frequency against accuracy",
        Axis("training images of a class", log=_is_wide(series)),
        Axis("accuracy", percent=True),
        series,
        note="How often the nearest of all centres is an image's own; bars: 95 % intervals, by class.",
    )


def _is_wide(series: Sequence[Series]) -> bool:
    """Whether sizes differ by so much that a logarithmic axis has something to write at it."""
    sizes = np.concatenate([each.x for each in series] or [np.ones(1)])
    return bool(sizes.max() > 20 * sizes.min())


def _by_size(name: str, bins: Sequence[SizeBin], place: int, several: bool) -> Series:
    middle = np.array([np.sqrt(each.least * each.most) for each in bins])
    ends = [
        np.array([np.nan if each.interval is None else each.interval[side] for each in bins])
        for side in (0, 1)
    ]
    return Series(
        name,
        middle,
        np.array([each.accuracy for each in bins]),
        ends[0],
        ends[1],
        look="whiskers",
        colour=place,
        run=place if several else None,
    )


def class_size_table(runs: Sequence[Run]) -> list[Html]:
    """The same in numbers."""
    rows: list[list[str | int | float]] = [
        [
            *([run.name] if len(runs) > 1 else []),
            "" if run.looks.step is None else f"{run.looks.step:,}",
            f"{each.least:,}" if each.least == each.most else f"{each.least:,}..{each.most:,}",
            each.classes,
            each.images,
            f"{each.accuracy:.2%}"
            + ("" if each.interval is None else f" [{each.interval.low:.2%}, {each.interval.high:.2%}]"),
        ]
        for run in runs
        for each in run.looks.classes
    ]
    first = ["run"] if len(runs) > 1 else []
    return [table([*first, "step", "images of a class", "classes", "images looked at", "accuracy"], rows)]


def map_chart(
    key: str, found: EmbeddingMap, *, title: str, images: dict[str, int], run: int | None = None
) -> Chart:
    """A point for each image, in the colour of its identity where that has one.

    images: those that the page has by now, each with its number; this map's are added.
    """
    colours = colours_of(found.identities)
    series, points = [], []
    for colour in [*range(IDENTITIES), -1]:
        own = np.flatnonzero(colours == colour)
        if not len(own):
            continue
        own = own[np.argsort(found.places[own, 0], kind="stable")]
        name = "all others" if colour < 0 else f"identity {int(found.identities[own[0]])}"
        series.append(Series(name, found.places[own, 0], found.places[own, 1], look="points", colour=colour))
        points.append([_point(found, int(at), images) for at in own])
    return Chart(
        key,
        title,
        Axis(found.axes[0]),
        Axis(found.axes[1]),
        series,
        note=f"{len(found.places):,} images of the set {found.name}, as the network of step {found.step:,} "
        "embeds them; point at one to see what it is.",
        points=points,
        run=run,
    )


def _point(found: EmbeddingMap, at: int, images: dict[str, int]) -> dict[str, str | int]:
    shown: dict[str, str | int] = {"name": plain(found.names[at], escaped=False)}
    if len(found.thumbnails):
        shown["image"] = images.setdefault(data_url(found.thumbnails[at], SIDE), len(images))
    return shown


def image_list(images: Mapping[str, int]) -> Html:
    """The images of all maps, each once, in the order of their numbers: for the page's script."""
    return Html(f'<script type="application/json" id="images">{as_json(list(images))}</script>')
