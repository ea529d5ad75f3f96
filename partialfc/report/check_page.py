"""The page of a check of data: what was found, with the images."""

from collections.abc import Sequence
from pathlib import Path

from partialfc.data.check.findings import SINGLE, TITLES, Checked, Group, Single
from partialfc.data.check.kinds import Kind
from partialfc.data.images.header import MAX_PIXELS
from partialfc.report.page import (
    Html,
    Section,
    facts,
    group,
    groups,
    page_text,
    paragraph,
    table,
    tiles,
    write_page,
)
from partialfc.report.source_tiles import source_tile
from partialfc.report.tiles import Mark, Tile

MOST_GROUPS = 60  # of a kind, on a page
MOST_IMAGES = 12  # of a group
MOST_SINGLE = 240  # images of a kind, likewise
_SIZES = 12

_SAYS = {
    Kind.BROKEN: "These cannot be read or decoded. Fetch them again, or leave them out.",
    Kind.LABEL: "The record holds no class id, or one that is too large.",
    Kind.SIZE: "These have not the size that was asked for, or are too small to show anything.",
    Kind.BLANK: "All of the image is of one colour, as far as one can see.",
    Kind.TURNED: "A viewer turns or mirrors these, as their EXIF data says; training, embed and serve do "
    "not. Write them anew as they are to be seen.",
    Kind.TRANSPARENT: "Their alpha is dropped, and what lies below it is seen, which is often black. Lay "
    "them on a ground.",
    Kind.DUPLICATE: "The same pixels several times in one class. One of them is enough.",
    Kind.CONFLICT: "The same pixels under several labels: some of these labels are wrong, or two classes are "
    "one. With --write-bad none of them is kept.",
    Kind.NEAR_DUPLICATE: "These look the same but for their size, their brightness or how they were saved. "
    "With --write-near those that are not marked as kept are left out.",
    Kind.NEAR_CONFLICT: "Each looks like one of another class. That may be right, and is worth a look.",
}


def write_check_page(checked: Checked, output: Path, *, max_pixels: int = MAX_PIXELS) -> Path:
    """Write what a check found as an HTML page to `output`, which is returned.

    Of a kind with very many findings the first are shown. Raises ConfigError where it cannot be written.
    """
    source = checked.source
    shown = facts(
        {
            "images": f"{len(source):,}",
            "classes": f"{source.num_classes:,}",
            "classes without images": f"{checked.empty_classes:,}",
            "formats": ", ".join(f"{name} {count:,}" for name, count in checked.formats.most_common())
            or "none",
        }
    )
    verdict = "Something was found." if checked.anything else "Nothing was found."
    sections = [
        Section(
            TITLES[kind],
            paragraph(_SAYS[kind]),
            *_findings(checked, kind, max_pixels),
            count=checked.count(kind),
            bad=True,
        )
        for kind in checked.kinds
        if checked.count(kind)
    ]
    clean = [TITLES[kind].lower() for kind in checked.kinds if not checked.count(kind)]
    if clean:
        sections.append(Section("Not found", paragraph(f"Nothing was found that is: {', '.join(clean)}.")))
    sections.append(Section("Sizes", *_sizes(checked)))
    text = page_text(f"Check of {source.origin}", [paragraph(verdict), shown], sections)
    return write_page(output, text)


def _findings(checked: Checked, kind: Kind, max_pixels: int) -> list[Html]:
    if kind in SINGLE:
        found = checked.singles[kind]
        each = [_single(checked, single, max_pixels) for single in found[:MOST_SINGLE]]
        return [tiles(each), *_rest(len(found) - MOST_SINGLE, "images")]
    several = checked.groups[kind]
    framed = [_group(checked, found, max_pixels) for found in several[:MOST_GROUPS]]
    return [groups(framed), *_rest(len(several) - MOST_GROUPS, "groups")]


def _single(checked: Checked, single: Single, max_pixels: int) -> Tile:
    name = checked.class_name(single.index)
    detail = single.why if name is None else f"{name}: {single.why}"
    return source_tile(checked.source, single.index, detail=detail, max_pixels=max_pixels)


def _group(checked: Checked, found: Group, max_pixels: int) -> Html:
    indices = _first(found)
    shown = [
        source_tile(
            checked.source,
            index,
            detail=checked.class_name(index) or "",
            mark=Mark.KEPT if index in found.kept else Mark.LEFT_OUT if found.kept else Mark.NONE,
            max_pixels=max_pixels,
        )
        for index in indices
    ]
    names = sorted({checked.class_name(index) or "" for index in found.indices})
    title = f"{len(found.indices)} images of {_listed(names)}"
    note = "the files are the same, byte for byte" if found.same_bytes else ""
    more = len(found.indices) - len(indices)
    return group(
        title, shown, note=", ".join(filter(None, (note, f"{more:,} more not shown" if more else "")))
    )


def _first(found: Group) -> Sequence[int]:
    return found.indices[:MOST_IMAGES]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4:,} other classes"


def _rest(count: int, what: str) -> list[Html]:
    said = f"{count:,} more {what} are not shown here; --json lists all, and --write-bad writes their keys."
    return [paragraph(said)] if count > 0 else []


def _sizes(checked: Checked) -> list[Html]:
    common = checked.sizes.most_common(_SIZES)
    rows = [(f"{height} x {width}", count) for (height, width), count in common]
    more = len(checked.sizes) - len(common)
    blocks = [table(["height x width", "images"], rows)] if rows else [paragraph("No image decodes.")]
    return blocks + ([paragraph(f"And {more:,} other sizes.")] if more else [])
