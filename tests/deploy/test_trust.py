"""A checkpoint is data: what it names is imported only where the person at the keyboard allows it."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from partialfc.checkpoint.state import STATE, sealed
from partialfc.deploy.trained import load_trained
from partialfc.errors import CheckpointError, ConfigError
from tests.paths import FIXTURES
from tests.processes import call
from tests.train_cases import write_data

STEP = Path("checkpoints", "step-00000007")
HUBCONF = """
from pathlib import Path
Path(__file__).with_name("ran").touch()

def evil(*, embedding_size, image_size, channels): ...
"""


@pytest.fixture
def downloaded(tmp_path):
    """A run that a stranger made."""
    run = tmp_path / "downloaded"
    shutil.copytree(FIXTURES / "run_0.1.0" / STEP, run / STEP)
    return run


def set_key(run: Path, key: str, value: object) -> None:
    """Edit the checkpoint's state.json, and seal it anew."""
    state = json.loads((run / STEP / STATE).read_text().partition("\n")[2])
    *sections, last = key.split(".")
    section = state
    for name in sections:
        section = section[name]
    section[last] = value
    (run / STEP / STATE).write_text(sealed(state))


def set_backbone(run: Path, **values: object) -> None:
    for name, value in values.items():
        set_key(run, f"config.backbone.{name}", value)


def test_torch_hub_does_not_run_what_lies_in_the_run(downloaded):
    (downloaded / "hubconf.py").write_text(HUBCONF)
    options = {"repo_or_dir": str(downloaded), "model": "evil", "source": "local"}
    set_backbone(downloaded, name="torch.hub:load", options=options)
    write_data(downloaded.parent)
    pairs = downloaded.parent / "pairs.bin"
    assert call("data", "pairs", downloaded.parent / "train.rec", pairs, "--pairs", "20").returncode == 0
    done = call("evaluate", downloaded, "--pairs", pairs)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "ConfigError" in line
    assert "--trust torch.hub" in line
    assert not (downloaded / "ran").exists()


@pytest.mark.parametrize("name", ["this:s", "os:system", "subprocess:run", "builtins:exec", ":x", "this:"])
def test_nothing_is_imported_for_a_name_that_is_not_trusted(downloaded, name):
    sys.modules.pop("this", None)
    set_backbone(downloaded, name=name, options={})
    with pytest.raises(ConfigError, match=r"step-00000007: backbone .* nothing that a checkpoint names"):
        load_trained(downloaded, trust=["tests.train_cases"])
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("attribute", "module"),
    [
        ("torch.hub.load", "torch"),  # the module has `import torch`
        ("os.system", "os"),
        ("write_source", "partialfc.data.sources.insightface"),
        ("nn.Linear", "torch.nn"),
        ("Tiny.load_state_dict", "torch.nn.modules.module"),
    ],
)
def test_a_trusted_module_gives_only_what_it_defines(downloaded, attribute, module):
    set_backbone(downloaded, name=f"tests.train_cases:{attribute}", options={})
    with pytest.raises(ConfigError, match=f"is code of the module '{module}'"):
        load_trained(downloaded, trust=["tests.train_cases"])


def test_options_reach_the_backbone_alone(downloaded):
    """A mapping of the file's never becomes arguments of ours."""
    set_backbone(downloaded, name="os:system", options={"trust": None, "name": "convnet"})
    with pytest.raises(ConfigError, match="--trust os"):
        load_trained(downloaded)
    set_backbone(downloaded, name="convnet", options={"trust": None})
    with pytest.raises(ConfigError, match="no option 'trust'"):
        load_trained(downloaded)


def test_a_list_of_modules_is_wanted():
    with pytest.raises(ConfigError, match=r"it must be a list of modules' names, such as \['mine'\]"):
        load_trained("anywhere", trust="mine")


def test_evaluate_loads_a_trusted_backbone(tmp_path):
    write_data(tmp_path)
    assert (
        call("data", "pairs", tmp_path / "train.rec", tmp_path / "pairs.bin", "--pairs", "20").returncode == 0
    )
    arguments = ("evaluate", FIXTURES / "run_0.1.0", "--pairs", tmp_path / "pairs.bin", "--folds", "2")
    refused = call(*arguments, "--trust", "tests")  # a package's name stands for itself alone
    assert (refused.returncode, "--trust tests.train_cases" in refused.stderr) == (1, True)
    done = call(*arguments, "--trust", "other", "--trust", "tests.train_cases")
    assert done.returncode == 0, done.stderr


def test_a_module_in_the_current_folder_is_not_imported_either(downloaded, tmp_path, monkeypatch):
    """`python -m partialfc` and notebooks have it on sys.path."""
    (tmp_path / "planted.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(str(tmp_path))
    set_backbone(downloaded, name="planted:Net", options={})
    with pytest.raises(ConfigError, match="--trust planted"):
        load_trained(downloaded)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("config", None, "config.backbone.name is missing, and must be text; .*; config.data.channels is"),
        ("config.backbone", [], "config.backbone.name is missing, and must be text"),
        ("config.backbone.name", 3, "config.backbone.name is 3, and must be text"),
        ("config.backbone.embedding_size", "16", "embedding_size is '16', and must be a whole number"),
        ("config.backbone.embedding_size", True, "embedding_size is True, and must be a whole number"),
        ("config.backbone.options", None, "config.backbone.options is missing, and must be a mapping"),
        ("config.data.image_size", 8.0, "config.data.image_size is 8.0, and must be a whole number"),
        ("step", "seven", "step is 'seven', and must be a whole number"),
    ],
)
def test_a_state_that_does_not_name_its_network_is_one_error(downloaded, key, value, message):
    set_key(downloaded, key, value)
    with pytest.raises(CheckpointError, match=f"step-00000007 does not say .*{message}"):
        load_trained(downloaded, trust=["tests.train_cases"])


def test_sections_that_a_trained_network_does_not_need_may_be_anything(downloaded):
    for section in ("head", "optimizer", "train", "metrics"):
        set_key(downloaded, f"config.{section}", "what a later version writes")
    assert load_trained(downloaded, trust=["tests.train_cases"]).step == 7


def test_a_network_that_no_memory_holds_is_an_error_of_the_checkpoint(downloaded):
    set_backbone(downloaded, name="convnet", embedding_size=10**15, options={})
    with pytest.raises(CheckpointError, match="no memory holds its convnet"):
        load_trained(downloaded)


@pytest.mark.parametrize(
    ("values", "first", "last"),
    [
        (
            {"name": "convnet", "options": {"widths": [8, 8]}},
            "it does not fit convnet: ",
            "have no place in convnet",
        ),
        (
            {"name": "tests.deploy.cases:Deeper", "options": {}},
            "does not fit tests.deploy.cases:Deeper",
            "code",
        ),
        ({"embedding_size": 17}, "its embeddings have 16 numbers", "if the code of tests.train_cases:"),
    ],
)
def test_a_backbone_that_does_not_fit_is_told_in_a_few_lines(downloaded, values, first, last):
    set_backbone(downloaded, **values)
    with pytest.raises(CheckpointError, match=r"^\S+step-00000007: ") as caught:
        load_trained(downloaded, trust=["tests.train_cases", "tests.deploy.cases"])
    lines = str(caught.value).splitlines()
    assert first in lines[0]
    assert last in lines[-1]
    assert len(lines) <= 6
    assert max(map(len, lines)) < 400
