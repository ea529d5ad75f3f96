"""What each backbone costs: parameters, FLOPs, activations, and images/s of training and of inference.

    python benchmarks/backbones.py --output benchmarks/backbones.csv

Images of 112x112 with three channels, embeddings of 512; one thread, in channels-last order. Seconds are CPU
time of this process, so that a machine that does other things too gives about the figures of an idle one.
A step of training is a pass forward and one back, without an optimizer. The precisions take turns: float32,
bfloat16 (autocast), and that compiled. A row that the output has already is not measured again, so that a
stopped run goes on where it was; name backbones to measure these alone, --again to replace their rows.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import table
import torch
from torch import Tensor, nn

from partialfc.backbones import BACKBONES, build_backbone
from partialfc.backbones.cost import Cost, backbone_cost

SIZES = {"embedding_size": 512, "image_size": 112, "channels": 3}
PRECISIONS = ("float32", "bfloat16", "compiled")
WORK = 50e9  # floating-point operations of a batch's pass forward, about
SMALLEST, LARGEST = 2, 32  # images in a batch
Step = Callable[[], None]


def batch_of(cost: Cost) -> int:
    return max(SMALLEST, min(LARGEST, int(WORK / cost.flops)))


def training_step(network: nn.Module, images: Tensor, precision: str) -> Step:
    def step() -> None:
        network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
            embeddings = network(images)
        embeddings.square().mean().backward()
        network.zero_grad()

    return step


def inference(network: nn.Module, images: Tensor, precision: str) -> Step:
    @torch.no_grad()
    def step() -> None:
        network.eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
            network(images)

    return step


def medians(steps: list[Step], rounds: int) -> list[float]:
    """CPU seconds of each, taking turns after one turn that is not counted."""
    seconds: list[list[float]] = [[] for _ in steps]
    for turn in range(rounds + 1):
        for step, taken in zip(steps, seconds, strict=True):
            started = time.process_time()
            step()
            if turn:
                taken.append(time.process_time() - started)
    return [statistics.median(taken) for taken in seconds]


def measure(name: str, precisions: list[str], rounds: int, batch: int | None) -> list[table.Row]:
    cost = backbone_cost(name, **SIZES)
    network = build_backbone(name, **SIZES).to(memory_format=torch.channels_last)
    size, batch = SIZES["image_size"], batch or batch_of(cost)
    images = torch.randn(batch, SIZES["channels"], size, size).to(memory_format=torch.channels_last)
    steps = []
    for precision in precisions:
        called = torch.compile(network) if precision == "compiled" else network
        steps += [make(called, images, precision) for make in (training_step, inference)]
    seconds = medians(steps, rounds)
    return [
        {
            "backbone": name,
            "precision": precision,
            **SIZES,
            "parameters": cost.parameters,
            "flops": cost.flops,
            "kept_bytes": cost.kept,
            "kept_bytes_checkpointing": cost.kept_by_checkpointing,
            "batch": batch,
            "rounds": rounds,
            "train_images_per_s": table.rounded(batch / train),
            "infer_images_per_s": table.rounded(batch / infer),
        }
        | table.surroundings()
        for precision, train, infer in zip(precisions, seconds[::2], seconds[1::2], strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=[*BACKBONES], help="backbones; default: all")
    parser.add_argument("--precisions", nargs="+", default=[*PRECISIONS], choices=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, help=f"images; default: by their cost, {SMALLEST} to {LARGEST}")
    parser.add_argument("--again", action="store_true", help="measure anew what the output has already")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)

    rows = table.read(options.output) if options.output and options.output.exists() else []
    for name in options.names:
        had = {row["precision"] for row in rows if row["backbone"] == name}
        wanted = [each for each in options.precisions if options.again or each not in had]
        if not wanted:
            continue
        measured = measure(name, wanted, options.rounds, options.batch)
        for row in measured:
            train, infer = row["train_images_per_s"], row["infer_images_per_s"]
            print(
                f"{name:14} {row['precision']:9} {train:8} images/s trained, {infer:8} embedded", flush=True
            )
        rows = [row for row in rows if row["backbone"] != name or row["precision"] not in wanted] + measured
        if options.output:
            table.write(options.output, sorted(rows, key=_place))


def _place(row: table.Row) -> tuple[int, int]:
    names = [*BACKBONES]
    known = names.index(row["backbone"]) if row["backbone"] in names else len(names)
    return known, PRECISIONS.index(row["precision"])


if __name__ == "__main__":
    main()
