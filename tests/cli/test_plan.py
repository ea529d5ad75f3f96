"""The command `plan`: what it prints, for options and for configs, and all that may be wrong."""

import json
import re
import sys
from dataclasses import replace

import pytest

from partialfc.cli import app as cli
from partialfc.plan import Setting, memory_of
from tests.paths import ROOT
from tests.plan.cases import FACES

POOL = ROOT / "configs" / "pool.yaml"
FACES_10M = ROOT / "configs" / "faces_10m.yaml"


@pytest.fixture
def call(monkeypatch, capsys):
    """`call(arguments...) -> (exit code, stdout, stderr)` of `partialfc plan`."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["partialfc", "plan", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return run


ASKED = ("--classes", "10_000_000", "--embedding", 512, "--gpus", 8, "--sample-rate", 0.1, "--batch", 128)


def test_the_command_prints_and_draws(call, tmp_path):
    picture = tmp_path / "plan.png"
    code, out, _ = call(*ASKED, "--memory", "80GB", "--bandwidth", "400Gbit/s", "--plot", picture)
    assert code == 0
    assert re.search(r"centres +2.56 GB", out)
    assert re.search(r"checkpoint, all ranks +41.0 GB", out)
    assert "of 80.0 GB: fits" in out
    assert "40.0 TFLOP/s (assumed)" in out
    assert "on 1 node: 50.0 GB/s, 20.0 µs a collective (assumed), 2.00 µs a hop (assumed)" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_command_says_what_to_change_and_that_is_no_failure(call):
    """A plan is an answer: the exit code is 0, and JSON says in a field whether it fits."""
    code, out, _ = call(*ASKED, "--memory", "4GB")
    assert code == 0
    assert "of 4.00 GB: DOES NOT FIT" in out
    assert "--weight-dtype bfloat16 " in out
    assert out.rstrip().endswith("fits")
    for memory, fits in (("4GB", False), ("80GB", True)):
        code, out, _ = call(*ASKED, "--memory", memory, "--json")
        assert (code, json.loads(out)["fits"]) == (0, fits)


def test_the_command_says_so_where_nothing_helps(call):
    code, out, _ = call(*ASKED, "--memory", "100kB")
    assert code == 0
    assert "at most 0 classes fit" in out
    assert out.rstrip().endswith("none of it is enough, nor are more ranks")


def test_the_number_of_gpus_is_said_to_be_assumed_where_nobody_gave_it(call):
    asked = (FACES_10M, "data.num_classes=10_000_000", "--memory", "80GB")
    assert "on 1 GPU (assumed; --gpus N plans for N), batch 1,024 each" in call(*asked)[1]
    assert "on 8 GPUs, batch 128 each (1,024 together)" in call(*asked, "--gpus", 8)[1]
    assert "on 1 process (assumed; --gpus N plans for N)" in call(*asked, "--device", "cpu")[1]


# Configs


def setting_of(call, *arguments: object) -> dict:
    asked = ("--classes", "10M", "--gpus", 8, "--memory", "80GB", "--json")
    code, out, err = call(FACES_10M, *arguments, *asked)
    assert code == 0, err
    return json.loads(out)["setting"]


def test_a_config_is_planned_for_and_options_win(call):
    from_config = setting_of(call)
    assert memory_of(Setting(**from_config)) == memory_of(replace(FACES, compute_dtype="bfloat16"))
    overridden = setting_of(call, "--batch", 64, "--momentum-dtype", "int8")
    assert overridden == {**from_config, "batch": 64, "momentum_dtype": "int8"}


@pytest.mark.parametrize("key", ["sub_centers", "accumulation"])
def test_what_the_config_says_of_a_class_and_a_step_is_an_option_too(call, key):
    option, section = f"--{key.replace('_', '-')}", "train" if key == "accumulation" else "head"
    assert setting_of(call, option, 3) == setting_of(call, f"{section}.{key}=3")
    assert setting_of(call, f"{section}.{key}=3", option, 2)[key] == 2
    code, out, _ = call(*ASKED, option, 3, "--memory", "80GB", "--json")
    assert (code, json.loads(out)["setting"][key]) == (0, 3)


def test_nulls_of_the_config_mean_the_same_in_the_plan(call):
    assert setting_of(call)["gather_dtype"] is None
    assert setting_of(call, "head.gather_dtype=bfloat16") == setting_of(call, "--gather-dtype", "bfloat16")
    assert setting_of(call, "train.device=cpu")["device"] == "cpu"
    assert setting_of(call, "optimizer.momentum=0")["momentum_dtype"] == "none"
    batches = ("data.sampler=identities", "data.images_per_identity=4")
    assert setting_of(call, *batches)["images_per_identity"] == 4


def test_the_dearest_stage_is_planned(call):
    stages = "stages=[{until_epoch: 5, head.sample_rate: {from: 0.1, to: 0.3}}]"
    staged = setting_of(call, stages)
    assert (staged["sample_rate"], staged["staged"]) == (0.3, True)
    assert setting_of(call, stages, "head.sample_rate=0.5")["sample_rate"] == 0.5
    assert setting_of(call, stages, "--sample-rate", 0.2)["sample_rate"] == 0.2
    assert setting_of(call)["staged"] is False
    asked = (FACES_10M, "--classes", "10M", "--memory", "80GB")
    assert "(sample rate 0.3, the largest of its stages)" in call(*asked, stages)[1]
    assert "(sample rate 0.1)" in call(*asked)[1]
    assert "(sample rate 0.2)" in call(*asked, stages, "--sample-rate", 0.2)[1]


def test_another_optimizer_than_the_configs_leaves_out_what_is_not_its_own(call):
    sgd = ("head.momentum_dtype=int8", "head.unsampled=dense")
    adamw = setting_of(call, *sgd, "--optimizer", "adamw")
    assert (adamw["momentum_dtype"], adamw["unsampled"]) == (None, None)
    assert setting_of(call, "optimizer={name: adamw, lr: 0.001}", "--optimizer", "sgd") == setting_of(call)


SHOWN = [
    (path.name, command)
    for path in (ROOT / "README.md", *sorted((ROOT / "configs").glob("*.yaml")))
    for command in re.findall(r"(?m)^(?:#\s+)?partialfc plan (.*)$", path.read_text())
]


@pytest.mark.parametrize(("file", "arguments"), SHOWN)
def test_plans_that_the_documents_show_can_be_made(call, monkeypatch, file, arguments):
    monkeypatch.chdir(ROOT)
    code, out, err = call(*arguments.split())
    assert code == 0, err
    assert re.search(r"of 80.0 GB: fits", out)


def test_the_documents_show_plans():
    assert {"README.md", "faces_100k.yaml", "faces_10m.yaml"} <= {file for file, _ in SHOWN}


def test_more_gpus_than_the_configs_batch_has_samples_cannot_be(call):
    asked = (FACES_10M, "--classes", "10M", "--memory", "80GB", "--gpus", 2000)
    code, _, err = call(*asked)
    assert code == 1
    assert "gpus is 2,000, but train.batch_size, which they share, is 1,024" in err
    assert call(*asked, "--batch", 1)[0] == 0


def test_the_pool_of_a_config_is_planned(call):
    asked = (POOL, "--classes", "10M", "--memory", "8GB")
    code, out, err = call(*asked)
    assert (code, err) == (0, "")
    assert "a pool of 1,000,000 of 10,000,000 classes x 128 on 1 GPU (assumed; --gpus N plans for N)" in out
    assert re.search(r"features +512 MB\n +order of the classes +8.00 MB\n +gallery network +3.63 MB", out)
    code, out, _ = call(*asked, "--gpus", 4, "--sub-centers", 2, "--json")
    found = json.loads(out)
    assert (code, found["fits"], found["setting"]["batch"]) == (0, True, 64)
    assert found["memory"]["features"] == 2 * 512_000_000
    assert found["memory"]["total"] + found["left"] == 8 * 10**9


# What is wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (ASKED, "--memory is missing"),
        ((*ASKED, "--memory", "eighty"), "--memory is 'eighty'; it must be a size of at least 1 B"),
        ((*ASKED, "--memory", "80"), "--memory is '80': 80 what? It must have a unit, such as 80GB or 80GiB"),
        (
            (*ASKED, "--memory", "80GB", "--weight-dtype", "fp8"),
            "weight_dtype is 'fp8'; it must be one of float32",
        ),
        (
            (*ASKED, "--memory", "8GB", "--reserve", "9GB"),
            "reserve is 9000000000; it must be less than memory",
        ),
        (
            (*ASKED, "--memory", "8GB", "--plot", "nowhere/plan.png"),
            "--plot is 'nowhere/plan.png'; it must be",
        ),
        (
            (*ASKED, "--memory", "8GB", "--plot", "/proc/x.png"),
            "--plot is '/proc/x.png', but its folder takes no file: No such",
        ),
        (
            (*ASKED, "--memory", "8GB", "--sub-centers", 0),
            "sub_centers is 0; it must be a whole number from 1 to",
        ),
        ((FACES_10M, "--memory", "8GB"), "--classes is missing (the config leaves"),
        (
            (ROOT / "configs" / "pfe.yaml",),  # whose memory would not help either
            "a plan is of the head, and objective.name: pfe has none",
        ),
        ((POOL, "--classes", "10M"), "--memory is missing; give that of one GPU"),
        ((POOL, "--memory", "8GB"), "--classes is missing (the config leaves data.num_classes to the data)"),
        (
            (POOL, "--memory", "8GB", "--classes", "10M", "--sample-rate", 0.1, "--unsampled", "frozen"),
            "--sample-rate, --unsampled: only for a head with a centre for each class, and head.name is pool",
        ),
        (
            (POOL, "--memory", "8GB", "--classes", 10, "head.pool.size=64"),
            "head.pool.size is 64, more than the 10 classes of the data",
        ),
        (
            (POOL, "--memory", "8GB", "--classes", "10M", "backbone.options={widths: [0]}"),
            "backbone 'convnet': backbone.options.widths=[0]: must list one or more integers",
        ),
        (
            (POOL, "--memory", "8GB", "--classes", "10M", "--plot", "plan.png"),
            "--plot draws a head against its classes, and head.name is pool: leave it out",
        ),
        (
            (ROOT / "configs" / "distill.yaml", "objective.alone=true", "--memory", "8GB"),
            "a plan is of the head, and objective.name: distill with objective.alone: true has none",
        ),
        (("nowhere.yaml", "--memory", "8GB"), "nowhere.yaml: cannot read the config"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_1(call, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "first_words"),
    [
        ((), ["--memory", "--classes", "--embedding", "--batch"]),
        ((FACES_10M,), ["--memory", "--classes"]),
        ((FACES_10M, "head.sample_rat=1", "--gpus", "x"), ["--gpus", "--memory", "override"]),
        (("--classes", "", "--batch", "x", "--embedding", 0, "--device", "mps", "--memory", "8GB"),
         ["--classes", "--embedding", "--batch", "device"]),
        ((*ASKED, "--memory", 8, "--bandwidth", 9, "--plot", "x.jpg"), ["--plot", "--memory", "--bandwidth"]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_said_at_once(call, arguments, first_words):
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    lines = err.removeprefix("partialfc: ConfigError: ").splitlines()
    assert [line.split()[0] for line in lines] == first_words
