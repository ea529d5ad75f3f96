"""Every command and every program that the documents show is run, here or by what the mark above it names.

<!-- run: tests/docs -->                     run here, in order, in a folder of the page's own
<!-- run: tests/docs with images pairs.bin -->   likewise, where these lie there already (see shelf.py)
<!-- run as loop.py: tests/docs -->          a program that is saved under this name, for a later block
<!-- run by: tests/test_quickstart.py -->    run there
<!-- checked by: tests/x.py (why not run) -->    what it names is looked at there, for the reason given
"""

import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.docs.pages import Block, blocks, commands, name_of, pages
from tests.docs.shelf import Desk, Shelf
from tests.paths import ROOT

SHELL = ("bash", "console")
TO_BE_RUN = (*SHELL, "python")
SHOWN = [block for page in pages() for block in blocks(page) if block.language in TO_BE_RUN]
RUN_HERE = sorted({block.page for block in SHOWN if block.kind == "run"})


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_a_block_says_what_runs_it(block):
    assert block.mark is not None, f"{block}: no mark above it, see tests/docs/test_commands.py"
    if block.kind == "run":
        assert block.mark["what"].split()[0] == "tests/docs"
    elif block.kind == "checked by":
        assert re.fullmatch(r"\S+ \(.+\)", block.mark["what"]), f"{block}: give the reason in brackets"


@pytest.mark.parametrize("block", [b for b in SHOWN if b.kind in ("run by", "checked by")], ids=str)
def test_what_runs_a_block_knows_its_commands(block):
    file = ROOT / block.mark["what"].split()[0]
    assert file.is_file(), file
    text = (file.read_text() + str(file)).lower()
    for words in commands(block.text) if block.language in SHELL else []:
        assert [word for word in essential(words) if word not in text] == [], f"{block}: {words}"


def essential(words: list[str]) -> list[str]:
    """What of a command its test must name: partialfc's command, the script, the target or the program."""
    words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
    if words[0] == "make":
        return words[1:2]
    if words[0] == "pip":
        return re.findall(r"\[([\w-]+)\]", " ".join(words))
    if "partialfc" in words[:-1]:
        return [words[words.index("partialfc") + 1]]
    return [Path(word).name for word in words if re.match("(launch|docker|benchmarks)/.+[.]", word)] or words[
        :1
    ]


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_HERE, ids=name_of)
def test_the_commands_of_a_page_run_one_after_the_other(page, shelf, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with closing(Desk(tmp_path, shelf)) as desk:
        for block in (block for block in SHOWN if block.page == page and block.kind == "run"):
            run(block, desk)
            capfd.readouterr()


def run(block: Block, desk: Desk) -> None:
    desk.lay_out(block.needs)
    if block.mark["file"]:
        (desk.folder / block.mark["file"]).write_text(block.text)
    elif block.language == "python":
        exec(compile(block.text, str(block), "exec"), desk.names)
    else:
        for words in commands(block.text):
            desk.run(words)
