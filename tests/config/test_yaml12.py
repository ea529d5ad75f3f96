"""YAML 1.2's plain words, what is refused and where, and the way back to text."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.config import yaml12
from partialfc.errors import ConfigError

# Plain words


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-4", 1e-4),
        ("1E-4", 1e-4),
        ("1.e-4", 1e-4),
        (".5", 0.5),
        ("+0.5", 0.5),
        ("5.", 5.0),
        ("1_000.5", 1000.5),
        ("2e+2", 200.0),
        ("-.inf", float("-inf")),
        ("10_000_000", 10**7),
        ("0o17", 15),
        ("0x1f", 31),
        ("+3", 3),
        ("0", 0),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
    ],
)
def test_numbers_booleans_and_null(written: str, value: object) -> None:
    loaded = yaml12.load(f"key: {written}", "test")["key"]
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    "written", ["no", "on", "y", "2024-01-01", "1:30", "017", "=", "1_", "_1", "1__0", "a.b", "nan", "e5"]
)
def test_everything_else_is_text(written: str) -> None:
    assert yaml12.load(f"key: {written}", "test") == {"key": written}


def test_quoted_words_are_text() -> None:
    assert yaml12.load("['1e-4', \"true\", '']", "test") == ["1e-4", "true", ""]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_text_is_null(text: str) -> None:
    assert yaml12.load(text, "test") is None


def test_merge_keys_give_way_to_the_mapping_s_own() -> None:
    assert yaml12.load("{<<: {a: 1, b: 2}, b: 3}", "test") == {"a": 1, "b": 3}


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run:\n  dir: a: b\n", "line 2, column 9: mapping values are not allowed here"),
        ("run: {dir: a\n", "line 2, column 1: while parsing a flow mapping, expected ',' or '}'"),
        ("run:\n\tdir: a\n", r"line 2, column 1: .*found character '\\t' that cannot start any token"),
        ("run: {dir: a}\nrun: {dir: b}\n", "line 2, column 1: key 'run' is given twice, first in line 1"),
        ("run:\n  a: 1\n  seed: 1\n  a: 2\n", "line 4, column 3: key 'a' is given twice, first in line 2"),
        ("run: *nowhere\n", "line 1, column 6: found undefined alias 'nowhere'"),
        ("? [a]\n: 1\n", "line 1, column 3: while constructing a mapping, found unhashable key"),
        ("---\nrun: {}\n---\nrun: {}\n", "line 3, column 1: expected a single document"),
        ("run: !!python/object:os.system {}\n", "line 1, column 6: could not determine a constructor"),
        ("run: {seed: !!set {1}}\n", "line 1, column 13: could not determine a constructor"),
        ("run: {seed: !!timestamp 2024-01-01}\n", "line 1, column 13: could not determine a constructor"),
        ("run: {seed: !!int x}\n", "line 1, column 13: 'x' is not a whole number of at most 64 bits"),
        ("run: {seed: !!int [1]}\n", "line 1, column 13: expected a scalar node, but found sequence"),
        ("run: {seed: !!float x}\n", "line 1, column 13: 'x' is not a number"),
        ("run: {seed: !!float ''}\n", "line 1, column 13: '' is not a number"),
        ("run: {seed: !!bool x}\n", "line 1, column 13: 'x' is not a boolean"),
        ("run: {seed: 0x10000000000000000}\n", "line 1, column 13: '0x10+' is not a whole number of at most"),
        ("seed: " + "9" * 5000, r"line 1, column 7: '9+\.\.\.9+' is not a whole number of at most 64 bits"),
        ("run:\n  dir: \x00\n", r"line 2: U\+0000 is not allowed in YAML"),
        ("[" * 1000, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_says_where(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^test\.yaml: {message}"):
        yaml12.load(text, "test.yaml")


# The way back to text

WORDS = st.text(max_size=20) | st.sampled_from(
    [
        "1e-4",
        "no",
        "null",
        "010",
        "0o7",
        "1:30",
        "2024-01-01",
        "~x",
        "<<",
        "=",
        ".nan",
        "a: b",
        "\x85",
        "\u2028",
    ]
)
CONTENT = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=50)
@given(content=CONTENT)
def test_content_survives_being_written(content: Any) -> None:
    assert yaml12.load(yaml12.dump(content), "test") == content


@pytest.mark.parametrize("text", ["no", "1e-4", "2024-01-01", "017", "0o17", "1:30"])
def test_text_is_written_so_that_yaml_1_1_reads_text_too(text: str) -> None:
    assert yaml.safe_load(yaml12.dump({"key": text})) == {"key": text}


def test_mappings_keep_their_order_when_written() -> None:
    assert yaml12.dump({"b": 1, "a": "ä"}) == "b: 1\na: ä\n"


# A stranger's

NINE = "[" + ", ".join(["x"] * 9) + "]"
BOMB = f"a0: &a0 {NINE}\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    "text", [BOMB, "backbone: {options: &a {x: *a}}", "&a [*a]", f"[{', '.join(['1'] * 100_001)}]"]
)
def test_aliases_make_no_more_values_than_a_config_can_have(text: str) -> None:
    with pytest.raises(ConfigError, match="it: holds more than 100,000 values, or one that"):
        yaml12.load(text, "it")


def test_a_few_aliases_are_fine() -> None:
    assert yaml12.load("a: &a [1, 2]\nb: [*a, *a]", "it") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.mkdir ['ran']", "!!python/name:os.system", "!!python/module:this", "!x 1"],
)
def test_no_tag_makes_an_object(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="could not determine a constructor for the tag"):
        yaml12.load(text, "it")
    assert not Path("ran").exists()
