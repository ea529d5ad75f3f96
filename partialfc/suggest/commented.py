"""A config as YAML in which a comment stands above each key."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from partialfc.config.yaml12 import dump_line
from partialfc.errors import printable

WIDTH = 110


def commented(mapping: Mapping[str, Any], comments: Mapping[str, str], *, heading: str) -> str:
    """YAML that load_config reads. mapping: sections; comments: of keys such as "data.image_size".

    heading: the lines at the top.
    """
    lines = [*_comment(heading, indent=0)]
    for section, content in mapping.items():
        lines.append("")
        lines += _comment(comments.get(section, ""), indent=0)
        if not isinstance(content, Mapping) or not content:
            lines.append(f"{section}: {dump_line(content)}")
            continue
        lines.append(f"{section}:")
        for key, value in content.items():
            lines += _comment(comments.get(f"{section}.{key}", ""), indent=2)
            lines.append(f"  {dump_line(key)}: {dump_line(value)}")
    return "\n".join(lines) + "\n"


def _comment(text: str, *, indent: int) -> Iterator[str]:
    start = " " * indent + "# "
    for line in text.splitlines():
        yield from textwrap.wrap(
            printable(line), WIDTH, initial_indent=start, subsequent_indent=start,
            break_long_words=False, break_on_hyphens=False,
        ) or [start.rstrip()]  # fmt: skip
