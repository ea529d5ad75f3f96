"""Verification of occluded characters, trained with and without adversarial occlusion: mean and spread.

    partialfc data glyphs data/glyphs
    python benchmarks/occlusion.py --data data/glyphs --output benchmarks/occlusion.csv

Every way of training has the same small backbone, batches and number of steps; the characters that are
verified are not in training. Of a genuine or impostor pair, one image is covered by a rectangle (white,
black, grey or noise, 15 to 35 % of the image, anywhere), which training never sees: its masks follow the grid
of the feature map, and have one level. `iou` is that of the branch with the covered cells; `iou_masks` with
masks of training's own kind, on these images too. A row is written when its run is done, and a run that has a
row is not made again. Each way is compared with plain training, seed by seed, as in margins.py.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from margin_run import (
    EMBEDDING_SIZE,
    FAR,
    LR,
    MOMENTUM,
    SIZE,
    WEIGHT_DECAY,
    Images,
    as_input,
    batches,
    load,
    pair_scores,
)
from margin_table import compared
from table import Row, read, surroundings, write
from torch import Tensor

import partialfc
from partialfc.backbones.convnet import ConvNet
from partialfc.occlusion import OcclusionNetwork, SegmentationLoss, intersection_over_union
from partialfc.occlusion.covers import FILLS, cells, cover

PLAIN = "plain"
REGIONS = {"ways": ["region"]}
WAYS: dict[str, dict[str, Any] | None] = {
    PLAIN: None,
    "three ways": {"at": "image"},
    "regions": {"at": "image", **REGIONS},
    "random regions": {"at": "image", "adversary": 0.0, **REGIONS},
    "regions of the map": {"at": "map", **REGIONS},
}
SEGMENTATION = 0.1  # the weight of the branch's loss
COVERS_SEED = 0
BUDGET = ("steps", "classes", "unseen")
SCORES = ("clean", "covered")


def main() -> None:
    options = _arguments()
    torch.set_num_threads(1)
    rows: list[Row] = [*read(options.output)] if options.output.exists() else []
    budget = {name: getattr(options, name) for name in BUDGET}
    if any(str(row[name]) != str(value) for row in rows for name, value in budget.items()):
        raise SystemExit(
            f"{options.output} has rows of another budget: remove them, or name another --output"
        )
    done = {(row["way"], row["seed"]) for row in rows}
    seen, unseen = load(options.data, options.classes, options.unseen)
    for seed in options.seeds:
        for way in options.ways:
            if (way, str(seed)) in done:
                continue
            row = (
                {"way": way, "seed": seed, **budget}
                | run(seen, unseen, WAYS[way], steps=options.steps, seed=seed)
                | surroundings()
            )
            rows = sorted([*rows, row], key=lambda row: ([*WAYS].index(row["way"]), int(row["seed"])))
            write(options.output, rows)
            print(*(f"{name} {row[name]}" for name in ("way", "seed", *SCORES, "cpu_seconds")), flush=True)
    print("\n".join(summary(rows)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--classes", type=int, default=400, help="that are trained on")
    parser.add_argument("--unseen", type=int, default=300, help="other classes, whose images are verified")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def run(seen: Images, unseen: Images, options: dict[str, Any] | None, *, steps: int, seed: int) -> Row:
    started = time.process_time()
    network = train(seen, options, steps=steps, seed=seed)
    seconds = time.process_time() - started
    return {**figures(network, unseen), "cpu_seconds": round(seconds, 1)}


def train(images: Images, options: dict[str, Any] | None, *, steps: int, seed: int) -> torch.nn.Module:
    """options: of OcclusionNetwork; None: plain training. Returns the network that was trained."""
    torch.manual_seed(seed)
    backbone = ConvNet(
        embedding_size=EMBEDDING_SIZE, image_size=SIZE, channels=1, widths=(16, 32), blocks=(1, 1)
    )
    network = backbone if options is None else OcclusionNetwork(backbone, seed=seed, **options)
    head = partialfc.PartialFC(
        EMBEDDING_SIZE,
        int(images.labels.max()) + 1,
        margin=partialfc.CosFace(scale=10, margin=0.35),
        seed=seed,
        compile=False,
    )
    settings: dict[str, Any] = {"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
    optimizer = partialfc.JointOptimizer(
        torch.optim.SGD(network.parameters(), **settings), partialfc.RowSGD(head, **settings)
    )
    branch_loss = SegmentationLoss()
    for factor, inputs, labels in batches(images, steps=steps, seed=seed):
        for group in optimizer.param_groups:
            group["lr"] = LR * factor
        if options is None:
            loss = head(network(inputs), labels)
        else:
            found = network(inputs)
            loss = head(found.embeddings, labels.repeat_interleave(2))
            loss = loss + SEGMENTATION * branch_loss(found.predicted, found.masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


@torch.inference_mode()
def figures(network: torch.nn.Module, unseen: Images) -> Row:
    """TAR at FAR 1e-3 in percent: of clean pairs, and of pairs of which the first image is covered."""
    network.eval()
    occluding = isinstance(network, OcclusionNetwork)
    backbone = network.backbone if isinstance(network, OcclusionNetwork) else network
    clear = units(backbone, as_input(unseen.pixels))
    accuracy = pair_scores(clear, clear, unseen.labels)
    row: Row = {"clean": accuracy["tar"], "clean_accuracy": accuracy["accuracy"]}
    found, ious = {}, []
    for fill in FILLS:
        rng = np.random.default_rng(COVERS_SEED)
        images, where = zip(*(cover(pixels, rng, fill=fill) for pixels in unseen.pixels), strict=True)
        inputs = as_input([*images])
        found[fill] = pair_scores(units(backbone, inputs), clear, unseen.labels)
        if isinstance(network, OcclusionNetwork):
            predicted = branch_of(network, inputs)
            hidden = torch.from_numpy(cells(np.stack(where), *predicted.shape[1:]))
            ious.append(intersection_over_union(predicted, hidden))
    row["covered"] = round(float(np.mean([each["tar"] for each in found.values()])), 3)
    row["covered_accuracy"] = round(float(np.mean([each["accuracy"] for each in found.values()])), 3)
    row |= {fill: each["tar"] for fill, each in found.items()}
    if occluding:
        row["iou"] = round(float(np.mean(ious)), 3)
        found_masks = [network(batch) for batch in as_input(unseen.pixels).split(500)]
        own = [torch.cat([getattr(each, name) for each in found_masks]) for name in ("predicted", "masks")]
        row["iou_masks"] = round(intersection_over_union(*own), 3)
    return row


def units(backbone: torch.nn.Module, inputs: Tensor) -> np.ndarray:
    embeddings = torch.cat([backbone(batch) for batch in inputs.split(500)])
    directions: np.ndarray = torch.nn.functional.normalize(embeddings.double(), dim=1).numpy()
    return directions


def branch_of(network: OcclusionNetwork, inputs: Tensor) -> Tensor:
    return torch.cat([network.branch(network.backbone.feature_map(batch)) for batch in inputs.split(500)])


def summary(rows: list[Row]) -> list[str]:
    """A line for each way: means and standard deviations, and what is significant beside plain training."""
    lines = [f"{'':>18}  {'clean pairs':>16}  {'one covered':>16}   IoU  TAR at FAR {FAR:g}"]
    by_way = {way: [row for row in rows if row["way"] == way] for way in WAYS}
    for way, own in by_way.items():
        if not own:
            continue
        values = {
            name: [float(row[name]) for row in own] for name in (*SCORES, "iou") if own[0].get(name, "") != ""
        }
        shown = [
            f"{np.mean(values[name]):6.2f} ± {np.std(values[name], ddof=min(1, len(own) - 1)):.2f} %"
            for name in SCORES
        ]
        iou = f"{np.mean(values['iou']):.2f}" if "iou" in values else "-"
        lines.append(f"{way:>18}  {shown[0]:>16}  {shown[1]:>16}  {iou:>4}")
        if way == PLAIN or len(own) < 2 or len(own) != len(by_way[PLAIN]):
            continue
        for name in SCORES:
            plain = [float(row[name]) for row in by_way[PLAIN]]
            found = compared([mine - other for mine, other in zip(values[name], plain, strict=True)])
            verdict = "significant" if found.significant else "not significant"
            lines.append(f"{'':>20}{name}: {found.mean:+.2f} ± {found.error:.2f} points to plain, {verdict}")
    return lines


if __name__ == "__main__":
    main()
