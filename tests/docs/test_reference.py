"""The reference and the program say the same."""

import re
import sys
from importlib import import_module
from typing import Any

import pytest
import yaml

import partialfc
import partialfc.finetune
import partialfc.metrics
import partialfc.trained
import partialfc.uncertainty
from partialfc.backbones import BACKBONES
from partialfc.config import parse_config
from tests import test_layers
from tests.docker.promql import unknown
from tests.docs.pages import DOCS, ROOT, Block, blocks, load_generated, pages

generated = load_generated()
sys.path.append(str(ROOT / "benchmarks"))  # whose scripts import each other by name
loss_tables, backbone_tables = import_module("loss_tables"), import_module("backbone_tables")
distillation_table = import_module("distillation_table")
MARKED = import_module("marked").MARKED
SECTIONS = {key.split(".")[0] for key in generated.config_keys()}
YAML = [block for page in pages() for block in blocks(page) if block.language == "yaml"]
PROMQL = [block for page in pages() for block in blocks(page) if block.language == "promql"]
LEAST: dict[str, Any] = {
    "run": {"dir": "runs/x"},
    "data": {"train": "images"},
    "backbone": {"name": "convnet"},
    "optimizer": {"lr": 0.1},
    "train": {"batch_size": 8, "steps": 1},
}


def page(name: str) -> str:
    return (DOCS / name).read_text()


@pytest.mark.parametrize(
    ("module", "prefix"),
    [
        (partialfc, "partialfc"),
        (partialfc.metrics, "partialfc.metrics"),
        (partialfc.trained, "partialfc.trained"),
        (partialfc.uncertainty, "partialfc.uncertainty"),
        (partialfc.finetune, "partialfc.finetune"),
    ],
)
def test_every_public_name_is_in_the_api(module, prefix):
    shown = set(re.findall(r"(?m)^\.\. (?:auto\w+|data):: ([\w.]+)(?:\(\))?$", page("reference/api.md")))
    assert {f"{prefix}.{name}" for name in module.__all__ if name != "__version__"} <= shown


def test_every_error_is_explained():
    text = page("reference/errors.md")
    errors = [name for name in partialfc.__all__ if name.endswith("Error") and name != "PartialFCError"]
    assert [name for name in errors if f"| `{name}` |" not in text] == []


def test_every_command_is_a_section_with_its_options():
    text = generated.commands()
    assert "\n## partialfc data pack\n" in text
    assert re.search(r"## partialfc plan\n.*?\| `--sample-rate` \| [^|]+ \|", text, re.S)
    assert "partialfc config [FILE] [OVERRIDES]... [OPTIONS]" in text
    assert re.search(r"\| `CONFIG` \| [^|]+ \| required \|", text)


def test_every_config_key_has_its_type_default_and_meaning():
    text = generated.config()
    assert "| `sample_rate` | number, above 0, at most 1 | `1.0` | Fraction of the centres" in text
    assert re.search(
        r"### head.margin: cosface\n.*?\| `name` \| `cosface` \| required \| Which margin. \|", text, re.S
    )
    for key in generated.config_keys() - SECTIONS:
        assert f"| `{key.rsplit('.', 1)[1]}` |" in text


def test_every_loss_has_its_line_with_its_paper_file_and_figures():
    text = page("reference/losses.md")
    losses = [each for name in partialfc.__all__ if isinstance(each := getattr(partialfc, name), type)]
    bases = (partialfc.Margin, partialfc.losses.BatchLoss)
    for loss in (each for each in losses if issubclass(each, bases) and each not in bases):
        line = re.search(rf"(?m)^\| `{loss.__name__}\(.*$", text)
        assert line, loss
        file = re.search(r"`(partialfc/\S+\.py)`", line[0])
        assert file
        assert f"class {loss.__name__}(" in (ROOT / file[1]).read_text()
        assert re.search(r"(19|20)\d\d", line[0]), loss
        assert re.search(r"\| \d\d\.\d\d ± .*\| \d\d\.\d\d ± .*\|$", line[0]), loss
    entries = (*loss_tables.MARGINS, *loss_tables.OPTIONS, *loss_tables.BESIDE)
    assert {entry.measured for entry in entries} == import_module("margin_variants").VARIANTS.keys()


def test_the_tables_of_the_losses_are_those_of_the_last_measurement():
    text = page("reference/losses.md")
    assert [name for _, name, _, _ in MARKED.findall(text)] == [*loss_tables.TABLES]
    assert loss_tables.written(text) == text, "stale: run python benchmarks/loss_tables.py"


def test_the_table_of_distillation_is_that_of_the_last_measurement():
    text = page("how-to/distill.md")
    assert "<!-- table: distillation" in text
    assert distillation_table.written(text) == text, "stale: run python benchmarks/distillation_table.py"


def test_the_tables_of_the_backbones_are_those_of_the_last_measurement():
    text = page("reference/backbones.md")
    assert [name for _, name, _, _ in MARKED.findall(text)] == [*backbone_tables.TABLES]
    assert backbone_tables.written(text) == text, "stale: run python benchmarks/backbone_tables.py"


def test_every_backbone_has_its_line_with_its_paper_and_its_file():
    text = page("reference/backbones.md")
    for name in BACKBONES:
        assert re.search(
            rf"(?m)^\| `{name}` \| [^|]+ \| `partialfc/backbones/\w+\.py` \| [\d.]+ M \|", text
        ), name


def test_the_rooms_are_those_that_the_layers_allow():
    text = page("explanation/architecture.md")
    told = dict(re.findall(r"(?m)^\| `(\w+)` \| .*? \| (.*?) ?\|$", text.split("## Where to add")[0]))
    rooms = test_layers.ROOMS
    for room, words in told.items():
        names = set(re.findall(r"`(\w+)`", words))
        above = set(list(told)[: list(told).index(room)])
        allowed = (
            above - names
            if words.startswith("all above")
            else set(rooms) - {room}
            if words == "all"
            else names
        )
        assert allowed == rooms[room], room
    assert told.keys() == rooms.keys()


@pytest.mark.parametrize("block", YAML, ids=str)
def test_yaml_is_a_part_of_a_config(block: Block):
    shown = yaml.safe_load(block.text)
    assert shown.keys() <= SECTIONS
    lists = {key: value for key, value in shown.items() if isinstance(value, list)}
    sections = {key: LEAST.get(key, {}) | shown.get(key, {}) for key in {*LEAST, *shown} - {*lists}}
    parse_config(sections | lists, [], str(block))


@pytest.mark.parametrize("block", PROMQL, ids=str)
def test_queries_read_what_is_exported(block: Block):
    assert unknown(block.text) == []


def test_the_checks_of_the_doctor_are_explained():
    told = re.findall(r"(?m)^\| ([a-z_, ]+) \|", page("reference/doctor-checks.md"))
    names = {name for row in told for name in row.split(", ")}
    source = "".join(path.read_text() for path in (ROOT / "partialfc" / "doctor").glob("*.py"))
    made = set(re.findall(r'\b(?:green|yellow|red|attempt|failed)\(\s*"([a-z_ ]+)"', source))
    assert {"clocks", "memory", "step"} <= made <= names
