"""The plan of a class pool against real pools: what they store, their peak, and what their ranks exchange."""

import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace

import pytest
import torch

import partialfc
from partialfc.plan import PoolSetting, plan_pool
from partialfc.plan.describe_pool import describe, to_dict
from partialfc.plan.pool_memory import pool_checkpoint_of, pool_memory_of
from tests.paths import ROOT
from tests.plan import plan_run
from tests.plan.cases import GB

SMALL = PoolSetting(size=300, classes=900, embedding=16, gpus=1, batch=32, device="cpu")
REAL_RUNS = [
    {"size": 400_000, "classes": 1_000_000, "embedding": 128, "batch": 256},
    {"size": 100_000, "classes": 1_000_000, "embedding": 256, "batch": 512, "weight_dtype": "bfloat16",
     "compute_dtype": "bfloat16", "sub_centers": 3},
]  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"weight_dtype": "bfloat16"}, {"sub_centers": 3}], ids=str)
def test_what_is_stored_is_what_a_pool_stores(changes):
    setting = replace(SMALL, **changes)
    pool = plan_run.build_pool(setting)
    pool.write(torch.randn(300, 16), torch.arange(300))
    memory, order = pool_memory_of(setting), pool.order_state()
    assert memory.features == pool.features.nbytes
    stored = pool.features.nbytes + sum(tensor.nbytes for tensor in order.values())
    assert pool_checkpoint_of(replace(setting, gallery=77)) == stored + 77
    arrays = (pool.recent.classes, pool.recent.written, pool.recent._ascending, pool.recent._slots)
    kept = pool._turns.nbytes + pool.recent._line.nbytes + sum(array.nbytes for array in arrays)
    assert kept < memory.order <= 2 * kept  # at the peak of a write


def test_a_gpu_holds_little_of_the_order_and_the_host_the_rest():
    on_gpu, on_cpu = (pool_memory_of(replace(SMALL, device=device)) for device in ("cuda", "cpu"))
    assert (on_gpu.order, on_gpu.on_host) == (300 * 8, on_cpu.order - 300 * 8)
    assert on_gpu.total == on_gpu.features + on_gpu.order + on_gpu.workspace + on_gpu.gathered_embeddings


def test_ranks_share_the_features_where_they_are_sharded():
    each, shared = (pool_memory_of(replace(SMALL, size=301, gpus=2, shard=shard)) for shard in (False, True))
    assert (each.features, shared.features) == (301 * 16 * 4, 151 * 16 * 4)
    assert pool_memory_of(replace(SMALL, gpus=1, shard=True)) == pool_memory_of(SMALL)


@pytest.mark.slow
def test_memory_is_the_peak_of_real_runs():
    """Within 5 %; uncompiled, as what a compiler leaves behind is no part of it."""
    runs = [{**asked, "gpus": 1, "device": "cpu", "compile": False} for asked in REAL_RUNS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
    command = [sys.executable, "-m", "tests.plan.plan_run", json.dumps(runs)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for asked, peak in zip(runs, map(int, done.stdout.split()), strict=True):
        memory = pool_memory_of(PoolSetting(**asked))
        assert peak == pytest.approx(memory.total, rel=0.05), (asked, memory)


def test_larger_embeddings_cost_what_was_measured():
    """benchmarks/pool_cost.csv; what loading and compiling take is the same for both, and so left out."""
    with (ROOT / "benchmarks" / "pool_cost.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["system"] == "pool"]
    measured, planned = {}, {}
    for row in rows:
        size, classes, embedding, batch = (int(row[n]) for n in ("rows", "classes", "embedding", "batch"))
        setting = PoolSetting(
            size=size, classes=classes, embedding=embedding, gpus=1, batch=batch, device="cpu"
        )
        measured[embedding] = float(row["peak_mb"]) * 1e6
        planned[embedding] = pool_memory_of(setting).total
    assert planned[512] - planned[128] == pytest.approx(measured[512] - measured[128], rel=0.1)


MARGINS = {
    "cosface": (partialfc.CosFace, {}),
    "softmax": (partialfc.Softmax, {"target_numbers": 2, "has_bound": False}),
    "curricularface": (partialfc.CurricularFace, {"reweights_negatives": True}),
}


def traffic_of_a_step(name, shard):
    """Of each rank 4 images are written and 12 classified, of which 8 have their class in the pool."""
    pool = partialfc.DynamicClassPool(16, 24, margin=MARGINS[name][0](), shard=shard)
    rank, written = pool.world.rank, torch.arange(4)
    inside, outside = torch.arange(8) + 12 * rank, 1000 + torch.arange(4)
    pool.write(torch.randn(12, 16), torch.arange(12) + 12 * rank)
    for _ in range(2):  # in the first, no rank knows yet how many labels the others have
        pool.world.traffic.reset()
        pool.write(torch.randn(4, 16), written + 12 * rank)
        pool(torch.randn(12, 16).requires_grad_(), torch.cat([inside, outside])).backward()
    return pool.world.traffic.calls, pool.world.traffic.bytes


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
@pytest.mark.parametrize("name", MARGINS)
def test_communication_is_what_the_ranks_exchange(run_ranks, name, shard):
    calls, payload = run_ranks(traffic_of_a_step, 2, name, shard)[0]
    setting = PoolSetting(
        size=24, classes=48, embedding=16, gpus=2, batch=16, device="cpu", shard=shard, **MARGINS[name][1]
    )
    assert setting.inside == 8 * (2 if shard else 1)
    planned = defaultdict(list)
    for each in plan_pool(setting, memory=GB).communication.collectives:
        if each.what != "outcome":
            planned[each.kind].append(each.payload)
    assert {kind: len(each) for kind, each in planned.items()} == calls
    assert {kind: sum(each) for kind, each in planned.items()} == payload


def test_what_is_wrong_is_said_at_once():
    with pytest.raises(partialfc.ConfigError) as caught:
        replace(SMALL, size=0, sub_centers=True, weight_dtype="int8", device="mps")
    assert [line.split()[0] for line in str(caught.value).splitlines()] == [
        "size",
        "sub_centers",
        "weight_dtype",
        "device",
    ]


def test_the_plan_as_text_and_values():
    made = plan_pool(replace(SMALL, gpus=2, device="cuda", gallery=10**6, shard=True), memory=2 * 10**6)
    text = describe(made)
    assert "a pool of 300 of 900 classes x 16 on 2 GPUs, batch 32 each" in text
    assert "8 images are written to the pool, the rest classified; each GPU has a part of them: 150" in text
    assert "gallery network" in text
    assert "of 2.00 MB: fits" in text
    assert "reduce-scatter of embedding gradients" in text
    values = to_dict(made)
    assert values["memory"]["total"] == made.memory.total
    assert values["left"] == 2 * 10**6 - made.memory.total
    small = plan_pool(replace(SMALL, gallery=10**6), memory=10**6)
    assert "DOES NOT FIT" in describe(small, gpus_given=False)
    assert "a lower head.pool.size" in describe(small)
