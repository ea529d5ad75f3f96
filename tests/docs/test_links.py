"""No link, path, command or config key in a document leads nowhere."""

import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import DOCS, anchors, blocks, commands, load_generated, name_of, pages, prose
from tests.paths import ROOT

generated = load_generated()
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FOLDERS = "benchmarks|configs|docker|docs|launch|partialfc|tests"
# Which look like keys.
NO_KEYS = ("backbone.pth", "head.weight", "head.top_k", "metrics.jsonl", "train.idx", "train.rec")
SECTIONS = "run|data|backbone|head|finetune|losses|optimizer|schedule|train|checkpoint|verification|metrics"


@cache
def whole(page: Path) -> str:
    """A page's text with its generated parts."""
    return generated.filled(page.read_text())


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_to_a_page_and_a_heading(page):
    """One in the file, and not only in the built site: links are followed in the repository too."""
    for target in LINK.findall(prose(whole(page))):
        parts = urlsplit(target)
        if parts.scheme:
            assert (parts.scheme, bool(parts.netloc)) in {("https", True), ("http", True)}, target
            continue
        to = (page.parent / parts.path).resolve() if parts.path else page
        assert to.exists(), target
        if parts.fragment:
            assert parts.fragment in anchors(to.read_text()), target


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_paths_of_the_repository_exist(page):
    for code in CODE.findall(prose(whole(page))):
        for path in re.findall(rf"(?:^|\s)((?:{FOLDERS})/[\w./{{}},*-]*)", code):
            assert all(any(ROOT.glob(each)) for each in alternatives(path.rstrip("/"))), path


def alternatives(path: str) -> list[str]:
    """`a/{b,c}.py` -> a/b.py and a/c.py."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", path)
    return [path] if found is None else [f"{found[1]}{each}{found[3]}" for each in found[2].split(",")]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_in_the_text_exist(page):
    known = dict(generated.all_commands())
    shown = [words for code in CODE.findall(prose(whole(page))) for words in commands(spoken(code))]
    shown += [words for b in blocks(page) if b.language in ("bash", "console") for words in commands(b.text)]
    for words in shown:
        check_command([word for word in words if not re.match(r"[A-Z_]+=", word)], known)


def spoken(code: str) -> str:
    """Code in the text, where it is a command and not a name, a title or a quotation."""
    return (
        code
        if re.match(r"(partialfc|make|torchrun|python benchmarks/)[ \w]", code) and "'" not in code
        else ""
    )


def check_command(words: list[str], known: dict[str, Any]) -> None:
    if words[:1] == ["partialfc"] or {"-m", "partialfc"} <= {*words}:
        rest = words[words.index("partialfc") + 1 :]
        if rest[:1] in (["--help"], ["--version"], ["X"]):
            return
        name = " ".join(["partialfc", *rest[: 2 if rest[0] in ("data", "plot", "gallery") else 1]])
        assert name in known, words
        options = {option for parameter in known[name].params for option in parameter.opts} | {"--help"}
        assert {word for word in rest if word.startswith("--")} <= options, words
    elif words[:1] == ["make"]:
        targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text())
        assert set(words[1:2]) <= set(targets), words


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_config_keys_in_the_text_exist(page):
    keys = generated.config_keys()
    for code in CODE.findall(prose(whole(page))):
        for key in re.findall(rf"^((?:{SECTIONS})(?:\.[a-z_0-9]+)+)(?:$|[:=])", code):
            in_lists = re.sub(r"^losses\.\w+\.", "losses.", key)
            assert in_lists in keys or key in NO_KEYS, key


def test_every_page_of_the_site_is_reached_from_its_index():
    listed = set()
    for page in DOCS.rglob("*.md"):
        for block in blocks(page):
            if block.language == "{toctree}":
                names = [line for line in block.text.splitlines() if line and not line.startswith(":")]
                listed |= {(page.parent / name).with_suffix(".md").resolve() for name in names}
    assert {page for page in DOCS.rglob("*.md") if page.name != "index.md" or page.parent != DOCS} == listed
