"""What was found as an HTML page, with the images beside those of their class, and of the nearest other."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from partialfc.cleaning.document import by_likelihood, disputed_classes
from partialfc.cleaning.findings import Findings
from partialfc.data.images.header import MAX_PIXELS
from partialfc.data.sources.labelled import Labelled
from partialfc.report.page import Html, Section, facts, group, groups, page_text, paragraph, write_page
from partialfc.report.source_tiles import class_title, source_tile
from partialfc.report.tiles import Mark, Tile

MOST_GROUPS = 60  # of a section, on a page
OF_CLASS = 4  # images that show what a class looks like
OF_GROUP = 8  # images of a group


def write_clean_page(
    found: Findings, source: Labelled, labels: Tensor, output: Path, *, max_pixels: int = MAX_PIXELS
) -> Path:
    """Write the page to `output`, which is returned. ConfigError where it cannot be written."""
    shown = _Shown(found, source, labels, max_pixels)
    wrong = found.wrong
    lead = facts(
        {
            "images": f"{len(labels):,}",
            "classes": f"{source.num_classes:,}",
            "labels that are wrong, estimated": f"{wrong.noise:.2%}",
            "of those to leave out, expected to be wrong": _percent(wrong.precision),
            "of the wrong ones, expected to be found": _percent(wrong.recall),
        }
    )
    sections = list(filter(None, shown.sections()))
    return write_page(output, page_text(f"Labels of {source.origin}", [lead], sections))


class _Shown:
    """The sections of the page."""

    def __init__(self, found: Findings, source: Labelled, labels: Tensor, max_pixels: int) -> None:
        self._found = found
        self._source = source
        self._labels = labels
        self._max_pixels = max_pixels
        self._order = labels.argsort(stable=True)
        self._starts = labels[self._order]

    def sections(self) -> list[Section | None]:
        found = self._found
        wrong, disputed = by_likelihood(found), disputed_classes(found, self._labels)
        return [
            self._section(
                "Wrong labels",
                "Each image in red is to be left out: it fits its class worse than random labels fit others. "
                "Beside it stand images of its class, and then some of the class that it is nearest to.",
                [self._wrong(index) for index in wrong[:MOST_GROUPS]],
                len(wrong),
            ),
            self._section(
                "Classes in which no two images agree",
                "Nobody knows which of these labels is right, so the images are kept. Look at them.",
                [
                    group(self._title(images), self._tiles(images.tolist(), Mark.NONE))
                    for images in disputed[:MOST_GROUPS]
                ],
                len(disputed),
            ),
            self._section(
                "Two classes that look like one identity",
                "The images of each fit the other class about as well as their own. Merge the two, or leave "
                "them if the network just cannot tell them apart.",
                [self._pair(pair.first, pair.second) for pair in found.duplicates[:MOST_GROUPS]],
                len(found.duplicates),
            ),
            self._section(
                "Classes that look like two identities",
                "The images in red fit each other, and not the rest of their class. They are left out; with "
                "a class of their own they need not be.",
                [
                    group(
                        class_title(self._source, each.class_id),
                        [
                            *self._tiles(each.others, Mark.SUSPECT),
                            *self._tiles(self._kept(each.class_id), Mark.KEPT),
                        ],
                    )
                    for each in found.mixed[:MOST_GROUPS]
                ],
                len(found.mixed),
            ),
        ]

    def _section(self, title: str, says: str, framed: Sequence[Html], count: int) -> Section | None:
        if not count:
            return None
        blocks = [paragraph(says), groups(framed)]
        if count > len(framed):
            more = count - len(framed)
            blocks.append(paragraph(f"{more:,} more are not shown here; --output writes all."))
        return Section(title, *blocks, count=count, bad=True)

    def _wrong(self, index: int) -> Html:
        own, nearest = int(self._labels[index]), int(self._found.wrong.nearest.classes[index, 0])
        names = [class_title(self._source, each) for each in (own, nearest)]
        return group(
            f"{names[0]}, or rather {names[1]}?",
            [
                *self._tiles([index], Mark.SUSPECT),
                *self._tiles(self._kept(own)[:OF_CLASS], Mark.NONE),
                *self._tiles(self._kept(nearest)[:OF_CLASS], Mark.NONE),
            ],
            note=f"cosine {self._found.own[index]:.2f} to its class, "
            f"{self._found.wrong.nearest.cosines[index, 0]:.2f} to the other",
        )

    def _pair(self, first: int, second: int) -> Html:
        names = [class_title(self._source, each) for each in (first, second)]
        shown = [self._tiles(self._kept(each)[:OF_CLASS], Mark.NONE) for each in (first, second)]
        return group(f"{names[0]} and {names[1]}", [*shown[0], *shown[1]])

    def _title(self, images: Tensor) -> str:
        return class_title(self._source, int(self._labels[images[0]]))

    def _tiles(self, indices: Sequence[int], mark: Mark) -> list[Tile]:
        return [
            source_tile(self._source, index, mark=mark, max_pixels=self._max_pixels)
            for index in indices[:OF_GROUP]
        ]

    def _kept(self, label: int) -> list[int]:
        """The images of a class that are not left out, or all of them where all are."""
        start, stop = torch.searchsorted(self._starts, torch.tensor([label, label + 1])).tolist()
        images = self._order[start:stop]
        kept = images[~self._found.wrong.left_out[images]]
        return (kept if len(kept) else images).tolist()


def _percent(share: float | None) -> str:
    return "none is left out" if share is None else f"{share:.1%}"
