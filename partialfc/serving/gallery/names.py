"""What a name in a gallery may be, however it comes there: by a command, by a request, or from Python."""

import unicodedata

from partialfc.errors import DataError

LONGEST = 1000  # characters
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # which Persian, Indic and other scripts need
RULE = f"must be 1 to {LONGEST} printable characters, tabs or joiners, without blanks or joiners at its ends"
_PLAIN = str.maketrans(dict.fromkeys(f"\t{JOINERS}", " "))


def is_name(name: str) -> bool:
    """Whether a name keeps the RULE. A line break is not printable, nor half of a broken character."""
    plain = name.translate(_PLAIN)
    return 0 < len(name) <= LONGEST and plain.isprintable() and plain == plain.strip()


def in_one_form(name: str) -> str:
    """A name in Unicode's NFC: two names are one where this is the same.

    An é of two characters, as file names of macOS may have it, is then the é that a keyboard types.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def require_name(name: str, of: str) -> None:
    """Raises DataError unless a name keeps the RULE. of: what has it, such as an image, for the message."""
    if not is_name(name):
        shown = repr(name) if len(name) <= LONGEST else f"{name[:40]!r}... of {len(name)} characters"
        raise DataError(f"{of}: its name in a gallery is {shown}, and {RULE}; rename the file or its class")
