"""Train what is planned, each in a process of its own, and print the bytes that it took at its peak.

The peak is the system's (VmHWM), less what the process held before the head was built: Python, torch, and
what a small head leaves behind whose chunks are as large, so that libraries are loaded, their own buffers
taken and kernels compiled. Memory that the small head freed is given back first. The processes are forked
from one that has loaded what all of them need, which saves time and has no part in the difference.
"""

import ctypes
import gc
import importlib
import json
import multiprocessing
import sys
from dataclasses import replace
from pathlib import Path

import torch

import partialfc
from partialfc.plan import PoolSetting, Setting
from partialfc.plan.memory import chunk_rows_of

STEPS = 2  # the second pays what rows owe since the first
SMALL_POOL = 20_000  # has two chunks as large as those of any other
WARM_UP_RATE = 0.9  # samples, as the head to be measured does, but of few classes


def status(name: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def build(
    setting: Setting, device: torch.device | None = None
) -> tuple[partialfc.PartialFC, torch.optim.Optimizer]:
    margin: partialfc.Margin = partialfc.ArcFace(scale=64.0, margin=0.5)
    if setting.bias:
        margin = partialfc.Softmax(bias=True)
    if setting.sub_centers > 1:
        margin = partialfc.SubCenter(k=setting.sub_centers, base=margin)
    head = partialfc.PartialFC(
        setting.embedding,
        setting.classes,
        margin=margin,
        sample_rate=setting.sample_rate,
        weight_dtype=getattr(torch, setting.weight_dtype),
        compute_dtype=getattr(torch, setting.compute_dtype),
        compile=setting.compiled,
    ).to(device)
    if setting.optimizer == "adamw":
        return head, partialfc.RowAdamW(head, lr=0.001)
    return head, partialfc.RowSGD(
        head,
        lr=0.1,
        momentum=0.9,
        weight_decay=5e-4,
        unsampled="dense" if setting.lazy else "frozen",
        momentum_dtype=getattr(torch, setting.stored_momentum),
    )


def train(setting: Setting) -> None:
    head, optimizer = build(setting)
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        for _ in range(setting.accumulation):
            embeddings = torch.randn(setting.batch, setting.embedding, generator=generator).requires_grad_()
            labels = torch.randint(setting.classes, (setting.batch,), generator=generator)
            head(embeddings, labels).backward()
        optimizer.step()


def build_pool(setting: PoolSetting) -> partialfc.DynamicClassPool:
    margin: partialfc.Margin = partialfc.CosFace(scale=64.0, margin=0.35)
    if setting.sub_centers > 1:
        margin = partialfc.SubCenter(k=setting.sub_centers, base=margin)
    return partialfc.DynamicClassPool(
        setting.embedding,
        setting.size,
        margin=margin,
        hard_negatives=setting.hard_negatives,
        shard=setting.shard,
        feature_dtype=getattr(torch, setting.weight_dtype),
        compute_dtype=getattr(torch, setting.compute_dtype),
        compile=setting.compiled,
    )


def train_pool(setting: PoolSetting, pool: partialfc.DynamicClassPool) -> None:
    """Steps with half identities, of which a half is written, once the pool is full."""
    generator = torch.Generator().manual_seed(0)
    size, written, classes = setting.embedding, setting.written, setting.classes
    slots = torch.arange(setting.size)
    pool.restore_order({"classes": slots, "order": slots, "turns": torch.zeros_like(slots)})
    del slots
    pool.features.normal_(generator=generator)
    for _ in range(STEPS):
        first = int(torch.randint(classes, (), generator=generator))
        identities = (first + torch.arange(written)) % classes
        others = torch.randint(classes, (setting.batch - 2 * written,), generator=generator)
        pool.write(torch.randn(written, size, generator=generator), identities)
        embeddings = torch.randn(setting.batch - written, size, generator=generator).requires_grad_()
        pool(embeddings, torch.cat([identities, others])).backward()


def begin(asked: Setting | PoolSetting) -> None:
    """A small one of the same kind, whose chunks are as large."""
    if isinstance(asked, PoolSetting):
        small = replace(asked, size=min(SMALL_POOL, asked.size), compile=asked.compiled)
        train_pool(small, build_pool(small))
        return
    two_chunks = int(2 * chunk_rows_of(asked) / WARM_UP_RATE)
    train(replace(asked, classes=two_chunks, sample_rate=WARM_UP_RATE, compile=asked.compiled))


def print_peak(asked: Setting | PoolSetting) -> None:
    begin(asked)
    gc.collect()  # a head and its optimizer know each other
    ctypes.CDLL(None).malloc_trim(0)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM is from now on the peak since this line
    if isinstance(asked, PoolSetting):
        train_pool(asked, build_pool(asked))
    else:
        train(asked)
    print(status("VmHWM") - before, flush=True)


def main() -> None:
    train(Setting(classes=100, embedding=8, gpus=1, batch=4, device="cpu"))
    settings = [(PoolSetting if "size" in asked else Setting)(**asked) for asked in json.loads(sys.argv[1])]
    if any(setting.compiled for setting in settings):
        importlib.import_module("torch._inductor.compile_fx")
    gc.freeze()  # else each child's first collection would copy every page of what is imported
    for setting in settings:
        process = multiprocessing.get_context("fork").Process(target=print_peak, args=(setting,))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
