"""Messages: which key, which rule, which value, and what was meant."""

import re
from pathlib import Path

import pytest
import yaml

from partialfc.config import ArcFaceConfig, parse_config
from partialfc.errors import ConfigError
from tests.config.cases import SMALL, failure, load


def test_an_empty_file_lacks_each_required_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "")
    assert [line.partition("config.yaml: ")[2] for line in str(error.value).splitlines()] == [
        "run: section is required, with dir",
        "data: section is required, with train",
        "backbone: section is required, with name",
        "optimizer: section is required, with lr",
        "train: section is required, with batch_size",
    ]


@pytest.mark.parametrize(
    "key", ["run.dir", "data.train", "backbone.name", "optimizer.lr", "train.batch_size"]
)
def test_what_the_caller_must_decide_has_no_default(key: str) -> None:
    section, name = key.split(".")
    mapping = yaml.safe_load(SMALL)
    del mapping[section][name]
    with pytest.raises(ConfigError, match=rf"small\.yaml: {re.escape(key)}: is required: .+\."):
        parse_config(mapping, [], "small.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("head.sampel_rate=0.1", r"head\.sampel_rate: unknown key; did you mean head\.sample_rate\?"),
        ("data.augment.flop=true", r"data\.augment\.flop: unknown key; did you mean data\.augment\.flip\?"),
        ("head.margin.scal=1", r"head\.margin\.scal: unknown key; did you mean head\.margin\.scale\?"),
        ("haed.sample_rate=0.1", r"haed: unknown section; did you mean head\?"),
        ("lr=0.1", r"lr: unknown section; did you mean optimizer\.lr\?"),
        (
            "head.scale=1",
            r"head\.scale: unknown key; did you mean data\.augment\.scale or head\.margin\.scale or "
            r"head\.margin\.base\.scale\?",
        ),
        (
            "data.batch_size=1",
            r"data\.batch_size: .*did you mean train\.batch_size or verification\.batch_size\?",
        ),
        (
            "head.margin.m2=0.1",
            r"head\.margin\.m2: name: arcface has no such key; it belongs to name: combined",
        ),
        ("optimizer.betas=[0, 0]", r"optimizer\.betas: name: sgd has no such key; it belongs to name: adamw"),
        ("run.zzz=1", r"run\.zzz: unknown key; run has dir, seed$"),
        ("zzz.a=1", r"zzz: unknown section; the config has run, data, backbone, .*verification, metrics$"),
        ("head.margin.zzz=1", r"head\.margin\.zzz: unknown key; head\.margin has .*margin$"),
    ],
)
def test_an_unknown_key_names_the_one_that_was_meant(override: str, message: str) -> None:
    assert re.search(message, failure(override))


def test_a_new_name_for_a_section_with_other_keys_says_the_way_out(tmp_path: Path) -> None:
    text = SMALL + "head: {margin: {name: arcface, scale: 32, margin: 0.4}}\n"
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text, "head.margin.name=softmax")
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    said = "with override 'head.margin.name=softmax': head.margin.scale: name: softmax has no such key"
    assert f"config.yaml {said}; it belongs to" in lines[0]
    way_out = " (to leave out the keys of another name, write head.margin={name: softmax})"
    assert all(line.endswith(way_out) for line in lines)
    assert load(tmp_path, text, "head.margin={name: softmax}").head.margin.name == "softmax"

    text = SMALL + "losses: [{name: contrastive, balanced: true}]\n"
    with pytest.raises(ConfigError, match=r"write losses\.0={name: center}\)"):
        load(tmp_path, text, "losses.0.name=center")
    assert "to leave out" not in failure("head.margin.name=softmax", "head.margin.scale=3")


def test_an_unknown_key_does_not_list_the_keys_of_other_variants() -> None:
    assert "m1" not in failure("head.margin.zzz=1")


def test_a_key_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: 1: unknown section"):
        load(tmp_path, SMALL + "1: 2\n")
    assert "verification.sets.1: a key must be text, got 1; put it in quotes" in failure(
        "verification.sets={1: a}"
    )
    assert "backbone.options.a.0.1: a key must be text, got 1" in failure("backbone.options={a: [{1: 2}]}")


@pytest.mark.parametrize("written", ["yes", "no", "on", "off", "y", "1", "0", "'true'"])
def test_only_true_and_false_are_booleans(written: str) -> None:
    assert re.search(
        r"data\.augment\.flip: must be true or false, got '?[a-z01]+'?$",
        failure(f"data.augment.flip={written}"),
    )


@pytest.mark.parametrize(
    ("written", "got"),
    [("true", "true"), ("1.0", "1.0"), ("0.5", "0.5"), ("'8'", "'8'"), ("null", "null"), ("017", "'017'")],
)
def test_whole_numbers_are_strict(written: str, got: str) -> None:
    assert re.search(
        rf"train\.batch_size: must be a whole number.*, got {got}$", failure(f"train.batch_size={written}")
    )


def test_a_whole_number_with_an_exponent_is_shown_how_to_be_written() -> None:
    assert "train.batch_size: must be a whole number, written 1000, got 1000.0" in failure(
        "train.batch_size=1e3"
    )


@pytest.mark.parametrize("written", ["true", "'0.1'", "fast", "nan"])
def test_fractions_are_strict(written: str) -> None:
    assert "optimizer.lr: must be a number, got " in failure(f"optimizer.lr={written}")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("head.weight_dtype", "must be 'float32', 'float64' or 'bfloat16'"),
        ("head.compute_dtype", "must be 'float32', 'float64' or 'bfloat16'"),
        ("head.unsampled", "must be 'dense' or 'frozen'"),
        ("head.margin.name", "must be one of arcface, cosface, normalized_softmax, combined, mv_softmax, "),
        ("head.margin.margin_gradient", "must be 'exact' or 'straight_through'"),
        ("head.margin.beyond_pi", "must be 'hard' or 'easy'"),
        ("optimizer.name", "must be one of sgd, adamw"),
        ("schedule.name", "must be 'polynomial', 'cosine', 'constant' or 'step'"),
        ("train.amp", "must be 'auto', 'bfloat16' or 'float16'"),
        ("train.device", "must be auto, cpu, or the name of a kind of accelerator"),
        ("backbone.name", "must be a name such as iresnet50 or timm:resnet18 or module:Class"),
    ],
)
def test_a_choice_lists_what_there_is(key: str, message: str) -> None:
    text = failure(f"{key}=some thing")
    assert text.startswith(f"override '{key}=some thing': {key}: {message}")
    assert text.endswith("got 'some thing'")


def test_a_long_value_is_cut() -> None:
    assert len(failure(f"run.seed='{'x' * 5000}'")) < 400


def test_each_problem_has_a_line_that_names_its_source(tmp_path: Path) -> None:
    text = SMALL.replace("iresnet50", "''").replace("epochs: 3", "epochs: 3, logevery: 1")
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text, "head.sample_rate=0", "data.augment.fill=300")
    path = tmp_path / "config.yaml"
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("override 'data.augment.fill=300': data.augment.fill: must be less than")
    assert lines[1].startswith(f"{path}: backbone.name: must be a name such as")
    assert lines[2].startswith("override 'head.sample_rate=0': head.sample_rate: must be greater than 0")
    assert lines[3] == f"{path}: train.logevery: unknown key; did you mean train.log_every?"


def test_a_variant_needs_a_name_that_is_text() -> None:
    for name, got in (("null", "null"), ("3", "3"), ("[a]", "['a']")):
        assert failure(f"optimizer.name={name}").endswith(f": must be one of sgd, adamw, got {got}")


def test_a_section_from_elsewhere_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"python: optimizer: must be a section of keys and values, such as {name: sgd}, got Arc",
    ):
        parse_config(yaml.safe_load(SMALL) | {"optimizer": ArcFaceConfig()}, [], "python")


@pytest.mark.parametrize("section", ["head", "head.margin", "optimizer", "train", "data.augment"])
@pytest.mark.parametrize(("bad", "got"), [("3", "3"), ("null", "null"), ("[1]", r"\[1\]")])
def test_a_section_is_a_mapping(section: str, bad: str, got: str) -> None:
    text = failure(f"{section}={bad}")
    example = {"head.margin": ", such as {name: arcface}", "optimizer": ", such as {name: sgd}"}.get(
        section, ""
    )
    rule = re.escape(f"{section}: must be a section of keys and values{example}, got ")
    assert re.search(f"{rule}{got}$", text)


@pytest.mark.parametrize("bad", ["lfw.bin", "[lfw.bin, cfp.bin]", "3", "true"])
def test_values_by_name_are_shown_by_an_example(bad: str) -> None:
    assert failure(f"verification.sets={bad}").startswith(
        f"override 'verification.sets={bad}': verification.sets: must be values by name, such as "
        "{lfw: data/lfw.bin}, got "
    )
    assert "backbone.options: must be values by name, such as {dropout: 0.4}, got" in failure(
        f"backbone.options={bad}"
    )


@pytest.mark.parametrize("key", ["backbone.name", "verification.best", "metrics.bind"])
def test_text_is_called_text(key: str) -> None:
    assert failure(f"{key}=[1]").startswith(f"override '{key}=[1]': {key}: must be text, got [1]")


LISTS = {
    "objective.trust": "objective={name: distill, teacher_from: runs/a, weight: 1}",
    "objective.ways": "objective={name: occlusion}",
    "finetune.freeze": "finetune={backbone_from: runs/a}",
    "finetune.lora.patterns": "finetune={backbone_from: runs/a, lora: {rank: 1}}",
    "optimizer.betas": "optimizer.name=adamw",
    "losses": "losses=[]",
    "stages": "stages=[]",
}


@pytest.mark.parametrize("bad", ["foo", "null", "3", "{a: b}"])
@pytest.mark.parametrize("key", LISTS)
def test_a_list_is_called_a_list(key: str, bad: str) -> None:
    assert re.search(rf": {re.escape(key)}: must be a list\b", failure(LISTS[key], f"{key}={bad}"))


def test_an_empty_list_is_told_in_plain_words() -> None:
    text = failure(LISTS["finetune.lora.patterns"], "finetune.lora.patterns=[]")
    assert text.endswith("finetune.lora.patterns: must list at least 1, such as [layer1, layer2], got []")


def test_an_objective_without_a_name_is_told_the_names() -> None:
    text = failure("objective={weight: 7}")
    assert text.endswith("objective.name: is required: one of classification, distill, occlusion, pfe")


def test_a_number_as_a_key_of_a_section_is_unknown() -> None:
    assert failure("run.1=2").endswith("run.1: unknown key; run has dir, seed")
    assert "head.margin.1: unknown key; head.margin has " in failure("head={margin: {1: 2}}")


@pytest.mark.parametrize(
    ("key", "rule"), [("backbone.name", "must be text"), ("run.dir", "must be a path")], ids=["text", "path"]
)
def test_text_that_yaml_takes_for_a_key_is_told_how_to_be_written(key: str, rule: str) -> None:
    assert f"{key}: {rule} (a name is missing after timm: unless" in failure(f"{key}=timm:")
    assert f"{key}: {rule} (with a space after the colon, YAML reads a key: write timm:x, " in failure(
        f"{key}=timm: x"
    )
    assert f"{key}: {rule}, got " in failure(f"{key}={{a: 1, b: 2}}")


@pytest.mark.parametrize(
    "overrides",
    [
        ["objective={name: distill, teacher_from: runs/a, weight: 1e300}"],
        ["losses=[{name: triplet, weight: 1e300}]"],
        ["losses=[{name: triplet, weight: 1}]", "stages=[{from_step: 1, losses.triplet.weight: 1e300}]"],
        ["head={name: pool, pool: {size: 0.1, weight: 1e300}}", "data.sampler=half_identities"],
        ["head.margin={name: magface, lambda_g: 1e300}"],
        ["objective={name: occlusion, segmentation: 1e300}"],
        ["objective={name: occlusion, adversary: 1e300}"],
    ],
    ids=["distill", "losses", "stages", "pool", "magface", "segmentation", "adversary"],
)
def test_a_weight_beyond_any_use_is_refused(overrides: list[str]) -> None:
    text = failure(*overrides)
    assert re.search(
        r"(weight|lambda_g|segmentation|adversary): must be less than or equal to 1000000000, ", text
    )
