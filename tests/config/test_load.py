"""The config as users meet it: files, mappings, what is saved with a run, and the schema."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from partialfc import config as config_module
from partialfc.config import config_schema, dump_config, load_config, parse_config
from partialfc.errors import ConfigError
from tests.config.cases import FULL, SMALL, load, small
from tests.paths import ROOT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: {dir: a}\nrun: {dir: b}\n", "line 2, column 1: key 'run' is given twice, first in line 1"),
        (b"run: \xff\n", "not UTF-8 text at byte 5"),
        ("- run\n", r"must hold sections, such as 'run:', got \['run'\]"),
        ("3\n", "must hold sections, such as 'run:', got 3"),
    ],
)
def test_what_is_no_config_says_where(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: " + message):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    with pytest.raises(ConfigError, match=f"{re.escape(str(path))}: cannot read the config: No such file"):
        load_config(path, [])
    with pytest.raises(ConfigError, match="cannot read the config: Is a directory"):
        load_config(tmp_path, [])


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbf" + SMALL.encode()) == small()


def test_json_is_a_config_too(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for indent in (None, 2):
        path.write_text(json.dumps(load(tmp_path, FULL).model_dump(mode="json"), indent=indent))
        assert load_config(path) == load(tmp_path, FULL)


def test_an_alias_inside_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: holds more than .* values"):
        load(tmp_path, SMALL.replace("{name: iresnet50}", "{name: b, options: &x {a: *x}}"))


def test_a_mapping_from_python_obeys_the_same_rules() -> None:
    mapping = yaml.safe_load(SMALL)
    assert parse_config(mapping | {"run": {"dir": Path("runs/one")}}, [], "python") == small()
    with pytest.raises(ConfigError, match=r"python: backbone\.options\.a: .*JSON value, got \{1\}"):
        parse_config(mapping | {"backbone": {"name": "b", "options": {"a": {1}}}}, [], "python")
    with pytest.raises(ConfigError, match=r"python: must hold sections, such as 'run:', got \[\]"):
        parse_config([], [], "python")  # type: ignore[arg-type]


def leaves(model: BaseModel, prefix: str = "") -> Iterator[str]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("text", [SMALL, FULL, SMALL.replace("lr: 0.1", "lr: 1, name: adamw")])
def test_the_saved_config_has_every_value_and_loads_to_an_equal_config(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, text)
    saved = dump_config(config)
    assert load(tmp_path, saved) == config
    assert dump_config(load(tmp_path, saved)) == saved
    content = yaml.safe_load(saved)
    for key in leaves(config):
        node = content
        for part in key.split("."):
            assert part in node, key
            node = node[part]


PATHS = st.text(min_size=1).filter(lambda text: text[0] != "~")
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
MARGINS = st.one_of(
    st.fixed_dictionaries({"scale": POSITIVE}, optional={"margin": st.floats(0, 3)}),
    st.fixed_dictionaries({"name": st.just("cosface"), "margin": st.floats(0, 1.9)}),
    st.fixed_dictionaries({"name": st.just("combined"), "m1": st.floats(1, 3), "m3": st.floats(0, 1)}),
)
OPTIMIZERS = st.one_of(
    st.fixed_dictionaries({"lr": POSITIVE}, optional={"head_lr": st.none() | POSITIVE}),
    st.fixed_dictionaries({"name": st.just("adamw"), "lr": POSITIVE, "eps": POSITIVE}),
)
LENGTHS = st.one_of(
    st.fixed_dictionaries({"epochs": POSITIVE}), st.fixed_dictionaries({"steps": st.integers(1, 2**60)})
)


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_any_config_survives_being_saved(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    sets = data.draw(st.dictionaries(st.text(), PATHS, max_size=3))
    mapping: dict[str, Any] = {
        "run": {"dir": data.draw(PATHS), "seed": data.draw(st.integers(0, 2**63 - 1))},
        "data": {"train": data.draw(PATHS), "augment": {"flip": data.draw(st.booleans())}},
        "backbone": {"name": "b", "options": {"depth": data.draw(st.lists(st.none() | st.floats(-1, 1)))}},
        "head": {"margin": data.draw(MARGINS)},
        "optimizer": data.draw(OPTIMIZERS),
        "train": data.draw(LENGTHS) | {"batch_size": data.draw(st.integers(1, 2**40))},
        "checkpoint": {"resume": data.draw(st.text(min_size=1))},
        "verification": {"sets": sets, "best": data.draw(st.none() | st.sampled_from([*sets, None]))},
    }
    config = parse_config(mapping, [], "hypothesis")
    path = tmp_path_factory.getbasetemp() / "saved.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path, []) == config


def described(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key of each section; a section's own description stands in its definition."""
    for model in [schema, *schema["$defs"].values()]:
        for name, field in model.get("properties", {}).items():
            yield f"{model['title']}.{name}", schema["$defs"].get(field.get("$ref", "")[8:], {}) | field


def test_the_schema_describes_every_key() -> None:
    fields = dict(described(config_schema()))
    assert "HeadConfig.sample_rate" in fields
    assert fields["HeadConfig.sample_rate"]["exclusiveMinimum"] == 0
    for name, field in fields.items():
        assert re.fullmatch(r"[^\s].{5,}\.", field.get("description", ""), flags=re.DOTALL), name


def test_every_section_can_be_imported_from_the_config_module() -> None:
    sections = {name for name in config_schema()["$defs"] if name.endswith("Config")}
    assert sections < set(config_module.__all__)
    assert all(hasattr(config_module, name) for name in config_module.__all__)


def test_the_schema_accepts_what_loads_and_refuses_what_does_not() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(config_schema())
    jsonschema.Draft202012Validator.check_schema(config_schema())

    def errors(*overrides: str) -> list[Any]:
        content = yaml.safe_load(SMALL)
        for override in overrides:
            section, value = override.split("=")
            content[section] = yaml.safe_load(value)
        return list(validator.iter_errors(content))

    assert not list(validator.iter_errors(yaml.safe_load(dump_config(small()))))
    assert not errors()
    assert not errors("head={margin: {scale: 30}}")
    assert not errors("head={margin: {name: cosface, margin: 0.2}}")
    assert not errors("optimizer={name: adamw, lr: 1, betas: [0.9, 0.9]}")
    assert errors("head={margin: {name: cosface, m2: 0.2}}")
    assert errors("head={margin: {m2: 0.2}}")
    assert errors("optimizer={name: adamw, lr: 1, momentum: 0.9}")
    assert errors("head={sample_rate: 0}")
    assert errors("haed={}")


@pytest.mark.parametrize("name", ["faces_100k", "faces_10m"])
def test_the_configs_for_gpus_use_tensor_cores_in_backbone_and_head(name: str) -> None:
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    assert (config.train.amp, config.head.compute_dtype) == ("bfloat16", "bfloat16")
    older = ["train.amp=float16", "head.compute_dtype=float32"]  # as its comment says for V100 and T4
    assert load_config(ROOT / "configs" / f"{name}.yaml", older).train.amp == "float16"
