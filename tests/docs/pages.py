"""The documents as the tests read them: pages, headings, code blocks and the marks above those."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from tests.paths import ROOT

DOCS = ROOT / "docs"

MARK = re.compile(r"<!-- (run|run as (?P<file>\S+)|run by|checked by): (?P<what>.+?) -->")
FENCE = re.compile(r"^(```+)(\{?[\w-]*\}?)")


def pages() -> list[Path]:
    """Every page that is written for readers."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
    return [*top, *sorted(DOCS.rglob("*.md"))]


def load_generated() -> ModuleType:
    """docs/generated.py, which fills pages for the site's builder and here."""
    spec = spec_from_file_location("generated", DOCS / "generated.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. mark: the comment above it, None where there is none."""

    page: Path
    line: int
    language: str
    text: str
    mark: re.Match[str] | None

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def kind(self) -> str:
        """run, run by or checked by; empty without a mark."""
        return "" if self.mark is None else "run" if self.mark["file"] else self.mark[1]

    @property
    def needs(self) -> list[str]:
        """What of the shelf must lie there before: the words after `with`."""
        assert self.mark
        return self.mark["what"].partition(" with ")[2].split()


def blocks(page: Path) -> list[Block]:
    """A page's fenced blocks in order."""
    found: list[Block] = []
    lines = page.read_text().splitlines()
    index = 0
    while index < len(lines):
        fence = FENCE.match(lines[index])
        if fence is None:
            index += 1
            continue
        end = next(n for n in range(index + 1, len(lines)) if lines[n] == fence[1])
        mark = MARK.fullmatch(lines[index - 1]) if index else None
        found.append(Block(page, index + 1, fence[2], "\n".join(lines[index + 1 : end]) + "\n", mark))
        index = end + 1
    return found


def prose(text: str) -> str:
    """A page's text without fenced blocks and comments."""
    text = re.sub(r"(?ms)^(```+).*?^\1$", "", text)
    return re.sub(r"(?s)<!--.*?-->", "", text)


def commands(text: str) -> list[list[str]]:
    """The commands of a shell block, in words; && and line breaks between them, comments left out."""
    joined = text.replace("\\\n", " ")
    parts = (part for line in joined.splitlines() for part in re.split(r"\s&&\s", line))
    return [words for part in parts if (words := shlex.split(part, comments=True))]


def anchors(text: str) -> set[str]:
    """What a link may name behind its #: the headings as GitHub spells them."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in re.findall(r"(?m)^#+ (.+)$", prose(text)):
        bare = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{bare}-{seen[bare]}" if seen[bare] else bare)
        seen[bare] += 1
    return found
