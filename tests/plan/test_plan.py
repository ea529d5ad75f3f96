"""The planner: units, arithmetic against real heads, advice that holds, and the command."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch

import partialfc
from partialfc.cli import app as cli
from partialfc.errors import ConfigError
from partialfc.plan import Setting, Speed, memory_of, plan, units
from partialfc.plan.advice import fewest_gpus
from partialfc.plan.memory import kept_rows
from tests.paths import ROOT
from tests.plan import plan_run

FACES_10M = ROOT / "configs" / "faces_10m.yaml"
GB = 10**9
SMALL = Setting(classes=1001, embedding=128, gpus=1, batch=16, sample_rate=0.3, device="cpu")
FACES = Setting(classes=10_000_000, embedding=512, gpus=8, batch=128, sample_rate=0.1)


# Units


@pytest.mark.parametrize(
    ("text", "size"),
    [("80GB", 80 * 10**9), ("80GiB", 80 * 2**30), ("24_000_000_000B", 24 * 10**9), ("1.5 TB", 15 * 10**11),
     ("16g", 16 * 10**9), ("512 MiB", 2**29), ("7B", 7), ("1,500 GB", 15 * 10**11)],
)  # fmt: skip
def test_sizes_as_people_write_them(text, size):
    assert units.size_in_bytes("--memory", text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "80 GBB", "80GB/s", "80i", "nan", "0", "1e999GB", "1,5GB"]
)
def test_a_size_that_is_none_is_named_with_its_rule(text):
    with pytest.raises(
        ConfigError, match=r"--memory is '.*'; it must be a size of at least 1 B, such as 80GB"
    ):
        units.size_in_bytes("--memory", text)


def test_nothing_is_a_size_where_it_may_be():
    assert (
        units.size_in_bytes("--reserve", "0", least=0)
        == units.size_in_bytes("--reserve", "0GB", least=0)
        == 0
    )


@pytest.mark.parametrize(
    ("parse", "text", "proposed"),
    [
        (units.size_in_bytes, "80", "80GB or 80GiB"),
        (units.size_in_bytes, "1.5", "1.5GB or 1.5GiB"),
        (units.size_in_bytes, "80_000_000_000", "80_000_000_000B"),
        (units.bytes_per_second, "100", "100GB/s or 100Gbit/s"),
        (units.bytes_per_second, "100/s", "100GB/s or 100Gbit/s"),
        (units.bytes_per_second, "1e11", "1e11B/s"),
        (units.flops_per_second, "400", "400GFLOPS or 400TFLOPS"),
        (units.flops_per_second, "4e14", "4e14FLOPS"),
    ],
)
def test_a_number_without_a_unit_is_asked_for_one(parse, text, proposed):
    with pytest.raises(
        ConfigError, match=rf"is '{text}': .* what\? It must have a unit, such as {proposed}$"
    ):
        parse("--option", text)
    for each in proposed.split(" or "):
        assert parse("--option", each) > 0


def test_rates_and_counts():
    assert units.bytes_per_second("--bandwidth", "400Gbit/s") == 50e9
    assert units.bytes_per_second("--bandwidth", "3.35TB/s") == 3.35e12
    assert units.flops_per_second("--gemm-rate", "400TFLOPS") == 400e12
    assert units.flops_per_second("--gemm-rate", "0.4 PFLOP/s") == 400e12
    assert units.whole_number("--classes", "10_000_000") == units.whole_number("--classes", "10M") == 10**7
    assert units.whole_number("--classes", "12,487,647") == 12_487_647  # as the plan itself prints it
    for wrong in ("2.5", "0", "-3", "ten", "1e3x", "", "12,34", "1e13", "9" * 5000):
        with pytest.raises(ConfigError, match=r"--classes is .* a whole number from 1 to 1,000,000,000,000"):
            units.whole_number("--classes", wrong)
    with pytest.raises(ConfigError, match="--bandwidth is '100Gb/s'"):  # bits or bytes?
        units.bytes_per_second("--bandwidth", "100Gb/s")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 0}, "classes is 0; it must be a whole number from 1 to 1,000"),
        ({"gpus": 10**16}, "gpus is 10000000000000000; it must be a whole number from 1 to 1,000"),
        ({"sample_rate": 1.5}, "sample_rate is 1.5; it must be above 0 and at most 1"),
        ({"sample_rate": float("nan")}, "sample_rate is nan"),
        ({"weight_dtype": "int8"}, "weight_dtype is 'int8'; it must be one of float32, float64, bfloat16"),
        ({"optimizer": "adam"}, "optimizer is 'adam'; it must be one of sgd, adamw"),
        ({"gather_dtype": "float32"}, "gather_dtype is 'float32'; it must be bfloat16, or left out"),
        ({"optimizer": None}, "optimizer is None; it must be one of sgd, adamw$"),
        (
            {"optimizer": "adamw", "momentum_dtype": "int8"},
            "momentum_dtype is 'int8', but optimizer adamw has",
        ),
        (
            {"optimizer": "adamw", "unsampled": "dense"},
            "unsampled is 'dense', but optimizer adamw knows only",
        ),
    ],
)
def test_a_setting_that_cannot_be_says_why(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(FACES, **changes)


def test_a_setting_names_all_that_is_wrong_with_it():
    with pytest.raises(ConfigError) as raised:
        replace(FACES, classes=0, device="mps", sample_rate=2.0)
    assert [line.split()[0] for line in str(raised.value).splitlines()] == [
        "classes",
        "sample_rate",
        "device",
    ]


# Against real heads


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"unsampled": "frozen"},
        {"optimizer": "adamw"},
        {"compute_dtype": "float64"},
        {"weight_dtype": "bfloat16", "momentum_dtype": "bfloat16"},
        {"momentum_dtype": "int8"},
        {"momentum_dtype": "int8", "embedding": 600},
    ],
    ids=str,
)
def test_what_is_stored_is_what_a_head_stores(changes):
    setting = replace(SMALL, **changes)
    head, optimizer = plan_run.build(setting)
    memory = memory_of(setting)
    state = optimizer.row_state
    steps = sum(tensor.nbytes for tensor in state.values() if tensor.dtype == torch.int32)
    moments = sum(tensor.nbytes for tensor in state.values()) - steps
    assert (memory.centres, memory.momentum, memory.row_state) == (head.weight.nbytes, moments, steps)
    made = plan(setting, memory=GB)
    assert made.checkpoint == head.weight.nbytes + moments + steps


def test_rows_that_take_part_and_exponentials_that_are_kept():
    head, _ = plan_run.build(SMALL)
    head(torch.randn(16, 128, requires_grad=True), torch.arange(16)).backward()
    assert SMALL.rows == len(head.last_sample)
    kept = memory_of(SMALL).kept_exponentials
    assert kept == sum(gradient.kept.values.nbytes for gradient in head._gradients) == 300 * 16 * 4


def traffic_of_a_step() -> tuple[dict[str, int], dict[str, int]]:
    head = partialfc.PartialFC(64, 1000, margin=partialfc.ArcFace(), sample_rate=0.3)
    optimizer = partialfc.RowSGD(head, lr=0.1)
    head(torch.randn(8, 64, requires_grad=True), torch.arange(8)).backward()
    optimizer.step()
    return head.world.traffic.calls, head.world.traffic.bytes


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_communication_is_what_the_ranks_exchange(run_ranks, ranks):
    calls, payload = run_ranks(traffic_of_a_step, ranks)[0]
    setting = Setting(classes=1000, embedding=64, gpus=ranks, batch=8, sample_rate=0.3, device="cpu")
    communication = plan(setting, memory=GB).communication
    for kind in {"all_gather", "all_reduce", "reduce_scatter"}:
        planned = [each.payload for each in communication.collectives if each.kind == kind]
        assert (len(planned), sum(planned)) == (calls.get(kind, 0), payload.get(kind, 0))


REAL_RUNS = [
    {"classes": 100_000, "embedding": 512, "batch": 256, "sample_rate": 0.05},
    {"classes": 300_000, "embedding": 256, "batch": 256, "sample_rate": 0.05, "weight_dtype": "bfloat16",
     "momentum_dtype": "int8"},
    {"classes": 120_000, "embedding": 256, "batch": 256, "sample_rate": 0.1, "optimizer": "adamw"},
    {"classes": 500_000, "embedding": 64, "batch": 256, "sample_rate": 0.1, "unsampled": "frozen"},
]  # fmt: skip


@pytest.mark.slow
def test_memory_is_the_peak_of_real_runs():
    assert_within(0.05, REAL_RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("narrow", [{}, {"weight_dtype": "bfloat16", "momentum_dtype": "int8"}], ids=str)
def test_memory_is_the_peak_of_a_compiled_run(narrow):
    size = {"classes": 250_000, "embedding": 512, "batch": 256, "sample_rate": 0.2}
    asked = {**size, "compute_dtype": "bfloat16", **narrow}
    assert Setting(**asked, gpus=1, device="cpu").compiled
    assert_within(0.05, [asked])


def assert_within(share: float, runs: list[dict]) -> None:
    """Freed memory goes back to the system, so the peak is what the head holds, not what malloc keeps too."""
    runs = [{**asked, "gpus": 1, "device": "cpu"} for asked in runs]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
    command = [sys.executable, "-m", "tests.plan.plan_run", json.dumps(runs)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    planned = [memory_of(Setting(**asked)) for asked in runs]
    for asked, memory, peak in zip(runs, planned, map(int, done.stdout.split()), strict=True):
        assert peak == pytest.approx(memory.total, rel=share), (asked, memory)


# Arithmetic


def test_memory_by_hand():
    """1.25M centres a GPU; a kept eighth of 2.56 GB; AdamW's two moments; a shard not divisible by 8."""
    memory = memory_of(FACES)
    assert memory.centres == memory.momentum == 1_250_000 * 512 * 4
    assert memory.row_state == 1_250_000 * 4
    assert 0.95 < memory.kept_exponentials / (1_250_000 * 512 * 4 / 8) <= 1  # in whole chunks
    assert memory_of(replace(FACES, optimizer="adamw")).momentum == 2 * memory.momentum
    assert memory_of(replace(FACES, momentum_dtype="int8")).momentum == 1_250_000 * (512 + 4)
    assert memory_of(replace(FACES, momentum_dtype="none")).momentum == 0
    assert memory_of(replace(FACES, classes=10_000_001)).centres == 1_250_001 * 512 * 4
    assert memory.total == sum(asdict(memory).values())


def test_a_batch_larger_than_the_sample_takes_its_positives_with_it():
    setting = replace(FACES, classes=100_000, gpus=64)
    assert setting.rows == round(0.1 * 1563)
    assert replace(setting, sample_rate=0.01).rows == pytest.approx(1563 * (1 - (1 - 1e-5) ** 8192), abs=1)
    assert replace(setting, classes=1, gpus=1).rows == 1


def test_accumulated_batches_share_the_budget_of_kept_exponentials():
    once, twice = replace(FACES, classes=10**6), replace(FACES, classes=10**6, accumulation=2)
    assert kept_rows(once) == once.rows
    assert kept_rows(twice) == 2 * once.rows
    assert kept_rows(replace(FACES, accumulation=9)) <= 1_250_000 * 512 * 4 / 8 / (1024 * 4)
    assert kept_rows(replace(FACES, accumulation=10**9)) == kept_rows(replace(FACES, accumulation=9))


def test_the_floor_by_hand():
    """Three products for kept rows, four for others; rows and momentum read twice and written once."""
    speed = Speed(gemm_rate=1e12, memory_bandwidth=1e10, bandwidth=1e9, latency=0.0)
    setting = replace(SMALL, classes=1000, embedding=128)
    floor = plan(setting, memory=GB, speed=speed).floor
    rows, samples, size = 300, 16, 128
    assert floor.flops == 3 * 2 * samples * rows * size
    assert floor.bytes == rows * size * (8 + 2 * 8) + 2 * rows * samples * 4
    assert floor.seconds == pytest.approx(floor.flops / 1e12 + floor.bytes / 1e10)
    recomputed = plan(replace(setting, embedding=64), memory=GB, speed=speed).floor
    assert recomputed.flops == 4 * 2 * samples * rows * 64
    assert recomputed.bytes == rows * 64 * (8 + 2 * 8)


def test_communication_takes_the_rings_time():
    speed = Speed(gemm_rate=1e12, memory_bandwidth=1e10, bandwidth=1e9, latency=1e-3)
    communication = plan(FACES, memory=80 * GB, speed=speed).communication
    scatter = next(each for each in communication.collectives if each.kind == "reduce_scatter")
    assert scatter.payload == 1024 * 512 * 4
    assert scatter.seconds == pytest.approx(1e-3 + 7 / 8 * scatter.payload / 1e9)
    halved = plan(replace(FACES, gather_dtype="bfloat16"), memory=80 * GB, speed=speed).communication
    assert communication.sent - halved.sent == 7 / 8 * 1024 * 512 * 2


# Advice


def test_the_largest_number_of_classes_fits_and_one_more_chunk_of_ranks_does_not():
    made = plan(FACES, memory=80 * GB)
    assert made.fits
    assert not made.alternatives
    assert memory_of(replace(FACES, classes=made.most_classes)).total <= 80 * GB
    assert memory_of(replace(FACES, classes=made.most_classes + 8)).total > 80 * GB
    assert plan(FACES, memory=1000).most_classes == 0
    less = plan(FACES, memory=80 * GB, reserve=40 * GB)
    assert less.most_classes == pytest.approx(made.most_classes / 2, rel=0.01)


@pytest.mark.parametrize("memory", [5, 4, 2, 1])
def test_what_to_change_does_what_it_says(memory):
    made = plan(FACES, memory=memory * GB)
    assert not made.fits
    assert made.alternatives[-1].fits
    for each in made.alternatives:
        total = memory_of(replace(FACES, **each.changes)).total
        assert (each.total, each.fits) == (total, total <= memory * GB)
        assert total < made.memory.total
    assert made.alternatives[0].changes == {"weight_dtype": "bfloat16"}
    gpus = made.alternatives[-1].changes["gpus"]
    assert gpus == fewest_gpus(FACES, memory * GB)
    assert memory_of(replace(FACES, gpus=gpus - 1)).total > memory * GB


def test_a_smaller_sample_is_proposed_where_the_exponentials_are_what_does_not_fit():
    wide = Setting(
        classes=100_000, embedding=128, gpus=8, batch=4096, sample_rate=1.0, compute_dtype="bfloat16"
    )
    changed = {name for each in plan(wide, memory=GB // 3).alternatives for name in each.changes}
    assert {"sample_rate", "batch"} <= changed


def test_nothing_helps_where_the_gathered_batch_alone_is_too_large():
    made = plan(replace(FACES, batch=16, gpus=64), memory=1_000_000)
    assert not any(each.fits for each in made.alternatives)


# The command


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
    assert "at 50.0 GB/s and 20.0 µs a collective (assumed)" in out
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
    assert memory_of(Setting(**from_config)) == memory_of(FACES)
    overridden = setting_of(call, "--batch", 64, "--momentum-dtype", "int8")
    assert overridden == {**from_config, "batch": 64, "momentum_dtype": "int8"}


def test_nulls_of_the_config_mean_the_same_in_the_plan(call):
    assert setting_of(call)["gather_dtype"] is None
    assert setting_of(call, "head.gather_dtype=bfloat16") == setting_of(call, "--gather-dtype", "bfloat16")
    assert setting_of(call, "train.device=cpu")["device"] == "cpu"
    assert setting_of(call, "optimizer.momentum=0")["momentum_dtype"] == "none"


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
            "cannot write the picture /proc/x.png: No such",
        ),
        ((FACES_10M, "--memory", "8GB"), "--classes is missing (the config leaves"),
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
