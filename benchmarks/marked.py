"""Tables of the documentation that a program writes, each between its two markers in a page."""

import re
from collections.abc import Callable, Mapping

MARKED = re.compile(r"(?ms)^(<!-- table: (\w+),[^\n]*-->\n)(.*?)^(<!-- end of the table -->)$")


def filled(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The text of a page with the table between each two markers as it is now."""
    return MARKED.sub(lambda found: f"{found[1]}\n{tables[found[2]]()}\n\n{found[4]}", text)
