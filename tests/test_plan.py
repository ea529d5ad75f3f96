"""The planner: units, arithmetic against real heads, advice that holds, and the command."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

import partialfc
from partialfc import cli
from partialfc.errors import ConfigError
from partialfc.plan import Setting, Speed, memory_of, plan, units
from partialfc.plan.advice import fewest_gpus
from partialfc.plan.memory import kept_rows
from tests import plan_run

ROOT = Path(__file__).parents[1]
GB = 10**9
SMALL = Setting(classes=1001, embedding=128, gpus=1, batch=16, sample_rate=0.3, device="cpu")
FACES = Setting(classes=10_000_000, embedding=512, gpus=8, batch=128, sample_rate=0.1)


# Units


@pytest.mark.parametrize(
    ("text", "size"),
    [("80GB", 80 * 10**9), ("80GiB", 80 * 2**30), ("24_000_000_000", 24 * 10**9), ("1.5 TB", 15 * 10**11),
     ("16g", 16 * 10**9), ("512 MiB", 2**29), ("7", 7)],
)  # fmt: skip
def test_sizes_as_people_write_them(text, size):
    assert units.size_in_bytes("--memory", text) == size


@pytest.mark.parametrize("text", ["", "80", "GB", "-1GB", "80 GBB", "80GB/s", "80i", "nan", "0", "1e999GB"])
def test_a_size_that_is_none_is_named_with_its_rule(text):
    if text == "80":
        assert units.size_in_bytes("--memory", text) == 80
        return
    with pytest.raises(ConfigError, match=r"--memory is '.*'; it must be a size such as 80GB"):
        units.size_in_bytes("--memory", text)


def test_rates_and_counts():
    assert units.bytes_per_second("--bandwidth", "400Gbit/s") == 50e9
    assert units.bytes_per_second("--bandwidth", "3.35TB/s") == 3.35e12
    assert units.flops_per_second("--gemm-rate", "400TFLOPS") == 400e12
    assert units.flops_per_second("--gemm-rate", "0.4 PFLOP/s") == 400e12
    assert units.whole_number("--classes", "10_000_000") == units.whole_number("--classes", "10M") == 10**7
    for wrong in ("2.5", "0", "-3", "ten", "1e3x"):
        with pytest.raises(ConfigError, match=r"--classes is .* a whole number of at least 1"):
            units.whole_number("--classes", wrong)
    with pytest.raises(ConfigError, match="--bandwidth is '100Gb/s'"):  # bits or bytes?
        units.bytes_per_second("--bandwidth", "100Gb/s")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 0}, "classes is 0; it must be a whole number of at least 1"),
        ({"sample_rate": 1.5}, "sample_rate is 1.5; it must be above 0 and at most 1"),
        ({"sample_rate": float("nan")}, "sample_rate is nan"),
        ({"weight_dtype": "int8"}, "weight_dtype is 'int8'; it must be one of float32, float64, bfloat16"),
        ({"optimizer": "adam"}, "optimizer is 'adam'; it must be one of sgd, adamw"),
    ],
)
def test_a_setting_that_cannot_be_says_why(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(FACES, **changes)


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


@pytest.mark.parametrize("asked", REAL_RUNS, ids=str)
def test_memory_is_the_peak_of_a_real_run(asked):
    assert_within(0.05, asked)


@pytest.mark.slow
@pytest.mark.parametrize("narrow", [{}, {"weight_dtype": "bfloat16", "momentum_dtype": "int8"}], ids=str)
def test_memory_is_the_peak_of_a_compiled_run(narrow):
    size = {"classes": 250_000, "embedding": 512, "batch": 256, "sample_rate": 0.2}
    asked = {**size, "compute_dtype": "bfloat16", **narrow}
    assert Setting(**asked, gpus=1, device="cpu").compiled
    assert_within(0.05, asked)


def assert_within(share: float, asked: dict) -> None:
    """Freed memory goes back to the system, so the peak is what the head holds, not what malloc keeps too."""
    asked = {**asked, "gpus": 1, "device": "cpu"}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
    command = [sys.executable, "-m", "tests.plan_run", json.dumps(asked)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    memory = memory_of(Setting(**asked))
    assert int(done.stdout.split()[-1]) == pytest.approx(memory.total, rel=share), memory


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


def test_the_command_says_what_to_change(call):
    code, out, _ = call(*ASKED, "--memory", "4GB")
    assert code == 0
    assert "of 4.00 GB: DOES NOT FIT" in out
    assert "--weight-dtype bfloat16 " in out
    assert out.rstrip().endswith("fits")


def test_a_config_is_planned_for_and_options_win(call):
    config = ROOT / "configs" / "faces_10m.yaml"
    asked = ("--gpus", 8, "--memory", "80GB", "--json")
    from_config = json.loads(call(config, "data.num_classes=10_000_000", *asked)[1])
    assert from_config["memory"]["total"] == memory_of(FACES).total
    overridden = json.loads(call(config, "--classes", "20M", "--momentum-dtype", "int8", *asked)[1])
    wanted = {**from_config["setting"], "classes": 20_000_000, "momentum_dtype": "int8"}
    assert overridden["setting"] == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--memory", "80GB"), "--classes is missing; give it, such as --classes 10_000_000"),
        (ASKED, "--memory is missing"),
        ((*ASKED, "--memory", "eighty"), "--memory is 'eighty'; it must be a size such as 80GB"),
        (
            (*ASKED, "--memory", "80GB", "--weight-dtype", "fp8"),
            "weight_dtype is 'fp8'; it must be one of float32",
        ),
        (
            (*ASKED, "--memory", "8GB", "--reserve", "9GB"),
            "reserve is 9000000000; it must be less than memory",
        ),
        ((*ASKED, "--memory", "8GB", "--plot", "nowhere/plan.png"), "--plot is nowhere/plan.png; it must be"),
        ((ROOT / "configs" / "faces_10m.yaml", "--memory", "8GB"), "--classes is missing (the config leaves"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_1(call, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1
