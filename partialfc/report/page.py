"""A report as one HTML file: it needs no network and no other file, and runs nothing but its own scripts.

A page is a title and blocks; each function here makes a block from plain text and numbers, which it escapes.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NewType

from partialfc.errors import printable
from partialfc.files import replacing_output, require_file
from partialfc.report.page_style import STYLE
from partialfc.report.tiles import PIXELATED, Mark, Pixels, Tile, encoded_thumbnail

Html = NewType("Html", str)  # text that is escaped already
EMPTY = Html("")

THUMBNAIL = 160  # pixels of a thumbnail's larger side, twice of what it is shown at: for fine screens
# Nothing is loaded, and nothing is run but a page's own scripts, whatever a file's name holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_FRAMES = {Mark.KEPT: "kept", Mark.LEFT_OUT: "suspect", Mark.SUSPECT: "suspect"}  # of the style


def check_page(option: str, output: Path | None) -> None:
    """Before any work is done: ConfigError unless `output` is None, or a .html file that can be written."""
    require_file(option, output, suffix=".html")


def paragraph(text: str) -> Html:
    """A paragraph of plain text."""
    return Html(f"<p>{plain(text)}</p>")


def facts(values: Mapping[str, str]) -> Html:
    """Names and what they are, side by side: the figures that a page begins with."""
    each = (f"<div><dt>{_key(name)}</dt><dd>{plain(value)}</dd></div>" for name, value in values.items())
    return Html(f'<dl class="facts">{"".join(each)}</dl>')


def table(columns: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> Html:
    """Rows below the names of columns; numbers stand right, an int with commas and a float to 4 digits."""
    head = "".join(f'<th scope="col">{plain(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return Html(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')


def bars(values: Mapping[str, int]) -> Html:
    """A bar for each number, with its name before it and the number behind it; 0 has none."""
    largest = max(values.values(), default=0)
    rows = (
        f'<tr><th scope="row">{plain(name)}</th><td><span class="bar" style="width:{_share(value, largest)}">'
        f"</span></td><td>{value:,}</td></tr>"
        for name, value in values.items()
    )
    return Html(f'<table class="bars"><tbody>{"".join(rows)}</tbody></table>')


def tiles(shown: Iterable[Tile]) -> Html:
    """Images side by side, each with its name and its second line."""
    return Html(f'<div class="tiles">{"".join(map(_figure, shown))}</div>')


def group(title: str, shown: Iterable[Tile], *, note: str = "") -> Html:
    """Images that belong together, in a frame with a title; a part of `groups`."""
    below = f"<p>{plain(note)}</p>" if note else ""
    return Html(f'<article class="group"><h3>{plain(title)}</h3>{below}{tiles(shown)}</article>')


def groups(each: Iterable[Html]) -> Html:
    """Frames of `group`, as many side by side as there is room for."""
    return Html(f'<div class="groups">{"".join(each)}</div>')


def folded(title: str, *blocks: Html, shown: bool = False) -> Html:
    """Blocks that are hidden until a reader asks for them; shown: until a reader hides them."""
    return Html(
        f"<details{' open' if shown else ''}><summary>{plain(title)}</summary>{''.join(blocks)}</details>"
    )


class Section:
    """Blocks below a heading. count: how many things it is about, shown beside the heading and in the list.

    bad: whether these are things that are wrong.
    """

    def __init__(self, title: str, *blocks: Html, count: int | None = None, bad: bool = False) -> None:
        self.title = title
        self.blocks = blocks
        self.count = count
        self.bad = bad


def page_text(
    title: str,
    lead: Sequence[Html],
    sections: Sequence[Section],
    *,
    bar: Html = EMPTY,
    style: str = "",
    scripts: Sequence[str] = (),
) -> str:
    """The whole page: title, the blocks that lead, a list of the sections where there are several, those.

    bar: a block between the list and the sections. style: rules after the page's own. scripts: run one after
    another when all else is there; they hold no `</script`.
    """
    names = [f"section-{number}" for number in range(1, len(sections) + 1)]
    listed = "".join(
        f'<li><a href="#{name}">{plain(section.title)}</a>{_badge(section)}</li>'
        for name, section in zip(names, sections, strict=True)
    )
    contents = f'<nav aria-label="Sections"><ul>{listed}</ul></nav>' if len(sections) > 1 else ""
    body = "".join(
        f'<section id="{name}"><h2>{plain(section.title)}{_badge(section)}</h2>{"".join(section.blocks)}'
        "</section>"
        for name, section in zip(names, sections, strict=True)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{plain(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{STYLE}{style}</style>\n</head>\n"
        f"<body>\n<header><h1>{plain(title)}</h1>{''.join(lead)}{contents}</header>\n{bar}<main>{body}</main>\n"
        f"{''.join(f'<script>{each}</script>' for each in scripts)}</body>\n</html>\n"
    )


def write_page(output: Path, text: str) -> Path:
    """Write a `page_text` to the file `output`, which is returned. ConfigError where it cannot be written."""
    with replacing_output(output, "page") as beside:
        beside.write_text(text, encoding="utf-8")
    return output


def _policy(scripts: Sequence[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts)
    allowed = " ".join(f"'sha256-{each}'" for each in digests)
    return f"{_POLICY}; script-src {allowed}" if scripts else _POLICY


def image(pixels: Pixels | None, *, missing: str) -> Html:
    """A small image; without one the words that stand in its place."""
    if pixels is None:
        return Html(f'<span class="missing">{plain(missing)}</span>')
    exact = ' class="exact"' if max(pixels.shape[:2]) <= PIXELATED else ""
    source = data_url(pixels, THUMBNAIL)
    return Html(f'<img{exact} alt="" decoding="async" src="{source}">')


def data_url(pixels: Pixels, side: int) -> str:
    """An image as a part of the page, its larger side at most `side`."""
    kind, data = encoded_thumbnail(pixels, side)
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _figure(tile: Tile) -> str:
    shown = image(tile.pixels, missing="cannot be shown")
    frame, said = "", ""
    if tile.mark in _FRAMES:
        frame = f' class="{_FRAMES[tile.mark]}"'
        said = f'<b class="mark">{tile.mark.value}</b> '
    detail = f"<small>{plain(tile.detail)}</small>" if tile.detail else ""
    return f"<figure{frame}>{shown}<figcaption>{said}{plain(tile.caption)}{detail}</figcaption></figure>"


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f"<td>{plain(value)}</td>"
    return f'<td class="number">{value:,}</td>' if isinstance(value, int) else _number(value)


def _number(value: float) -> str:
    return f'<td class="number">{value:.4g}</td>'


def _badge(section: Section) -> str:
    if section.count is None:
        return ""
    kind = "bad" if section.bad and section.count else "count"
    return f' <span class="{kind}">{section.count:,}</span>'


def _share(value: int, largest: int) -> str:
    return f"{100 * value / largest:.4g}%" if largest else "0"


def _key(name: str) -> str:
    """A name such as backbone.embedding_size, which may be broken behind a dot or a low line."""
    return re.sub(r"([._])(?=\w)", r"\1<wbr>", plain(name))


def plain(text: str, *, escaped: bool = True) -> str:
    """Text for a page; what does not print, or is no text (a file name that is not UTF-8): a question mark.

    escaped: for HTML; else for a script's numbers, which set it as text.
    """
    seen = printable(text, but="\t\n")
    return escape(seen) if escaped else seen
