"""What a check of data found, in some lines of text."""

from partialfc.data.check.findings import Checked
from partialfc.data.check.kinds import Kind
from partialfc.errors import printable

_SHOWN = 3  # sizes, and images of a kind


def check_summary(checked: Checked) -> str:
    """What there is, and for each kind how much was found, with an example."""
    source = checked.source
    count, seconds = len(source), checked.seconds
    empty = f", {checked.empty_classes:,} of them without an image" if checked.empty_classes else ""
    lines = [
        f"{printable(source.origin)}: {count:,} images of {source.num_classes:,} classes{empty}; "
        f"checked in {seconds:.1f} s, {count / max(seconds, 1e-9):,.0f} a second"
    ]
    sizes = checked.sizes.most_common(_SHOWN)
    more = len(checked.sizes) - len(sizes)
    shown = [f"{height} x {width} ({images:,})" for (height, width), images in sizes]
    shown += [f"{more:,} others"] if more else []
    lines.append(f"{'height x width':<16}{', '.join(shown) or 'none'}")
    formats = (f"{name} ({images:,})" for name, images in checked.formats.most_common())
    lines.append(f"{'formats':<16}{', '.join(formats) or 'none'}")
    lines += [f"{kind:<16}{_found(checked, kind)}" for kind in checked.kinds]
    return "\n".join(lines)


def _found(checked: Checked, kind: Kind) -> str:
    count = checked.count(kind)
    if not count:
        return "none"
    if kind in checked.singles:
        first = checked.singles[kind][0]
        return f"{_number(count, 'image')}, such as {_key(checked, first.index)}: {printable(first.why)}"
    first_group = checked.groups[kind][0].indices[:_SHOWN]
    same = " and ".join(_key(checked, index) for index in first_group)
    return f"{_number(count, 'group')} of {_number(checked.images(kind), 'image')}, such as {same}"


def _key(checked: Checked, index: int) -> str:
    return printable(checked.source.key(index))


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
