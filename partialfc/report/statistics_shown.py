"""What a source consists of, as lines of text with bars, and as a page."""

from collections import Counter
from pathlib import Path

from partialfc.data.check.statistics import Statistics
from partialfc.errors import printable
from partialfc.files import show_size
from partialfc.report.page import Html, Section, bars, facts, folded, page_text, paragraph, table, write_page

_BAR = 40  # characters of the longest bar
_SHOWN = 5  # sizes and classes, in text
_LISTED = 50  # sizes, on a page


def statistics_text(found: Statistics) -> str:
    """A histogram of images a class, the smallest and largest classes, sizes, formats, colours."""
    lines = [f"{printable(found.source.origin)}: {_totals(found)}", "", "images a class    classes"]
    rows = _rows(found)
    most = max(rows.values(), default=1)
    for name, count in rows.items():
        bar = "#" * max(round(_BAR * count / most), count > 0)
        lines.append(f"{name:>14}  {count:>9,}  {bar}".rstrip())
    lines.append("")
    lines += [f"{name:<16}{value}" for name, value in _facts(found, _SHOWN).items()]
    return "\n".join(lines)


def write_statistics_page(found: Statistics, output: Path) -> Path:
    """The same as an HTML page, which is returned. Raises ConfigError where it cannot be written."""
    smallest, largest = found.ends(_LISTED)
    sections = [
        Section(
            "Images a class",
            bars(_rows(found)),
            folded(
                "The largest and the smallest classes", _classes(found, largest), _classes(found, smallest)
            ),
        ),
        Section("Sizes", _sizes(found)),
    ]
    lead = [paragraph(_totals(found)), facts(_facts(found, 2))]
    return write_page(output, page_text(f"What {found.source.origin} consists of", lead, sections))


def _totals(found: Statistics) -> str:
    count, classes = len(found.source), len(found.of_class)
    mean = count / classes if classes else 0
    return f"{count:,} images of {classes:,} classes, {mean:.4g} a class, {show_size(found.looks.bytes)}"


def _rows(found: Statistics) -> dict[str, int]:
    return {
        (f"{least:,}" if least == most else f"{least:,}..{most:,}"): count
        for least, most, count in found.histogram
    }


def _facts(found: Statistics, shown: int) -> dict[str, str]:
    looks = found.looks
    smallest, largest = found.ends(shown)
    values = {
        "largest": _listed(found, largest),
        "smallest": _listed(found, smallest),
        "height x width": _common({f"{h} x {w}": n for (h, w), n in looks.sizes.items()}, shown),
        "formats": _common(looks.formats, shown),
        "colours": _common(looks.colours, shown),
    }
    if looks.unread:
        values["not read"] = f"{looks.unread:,}; see partialfc data check"
    return values


def _listed(found: Statistics, labels: list[int]) -> str:
    return ", ".join(f"{_name(found, each)} ({found.of_class[each]:,})" for each in labels) or "none"


def _name(found: Statistics, label: int) -> str:
    return printable(found.class_name(label).replace("\t", " "))


def _common(counts: dict[str, int], shown: int) -> str:
    common = Counter(counts).most_common(shown)
    words = [f"{name} ({count:,})" for name, count in common]
    return ", ".join(words + [f"{len(counts) - shown:,} others"] * (len(counts) > shown)) or "none"


def _classes(found: Statistics, labels: list[int]) -> Html:
    return table(
        ["class", "images"], [(found.class_name(each), int(found.of_class[each])) for each in labels]
    )


def _sizes(found: Statistics) -> Html:
    common = found.looks.sizes.most_common(_LISTED)
    return table(["height x width", "images"], [(f"{h} x {w}", count) for (h, w), count in common])
