"""Quality of degraded glyphs by MagFace's norm and by probabilistic embeddings, against their known strength.

    partialfc data glyphs data/glyphs
    python benchmarks/uncertainty.py --data data/glyphs --output benchmarks/uncertainty.csv \
        --picture docs/reject.png

For each seed a small backbone is trained with MagFace on glyphs of which half are degraded (blur, noise, low
resolution or occlusion, of a strength drawn from 0..1), and then its uncertainty on the same images, with
configs/pfe.yaml. Both rate characters that were in neither: each image once with each
degradation, at a strength of its own, and Spearman's correlation says how well a quality falls with the
strength. Then the images of the verification pairs are degraded as those of training were, and pairs are
rejected by their worse image: the area under the error that is left, and three points of it. Two minutes of a
core for a seed.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from table import Row, surroundings, write

from partialfc.config import load_config
from partialfc.data.images.codec import decode, encode_png
from partialfc.data.images.degradations import DEGRADATIONS, degrade
from partialfc.data.loading.sampler import keyed
from partialfc.data.pairs.files import PairSet, read_pairs
from partialfc.data.sources.insightface import write_source
from partialfc.data.sources.source import Labelled, open_source
from partialfc.deploy.matching import matcher
from partialfc.deploy.quality import random_quality, rater
from partialfc.deploy.trained import Trained, load_trained
from partialfc.evaluation.embed import embed
from partialfc.evaluation.reject import RejectCurve, error_versus_reject
from partialfc.evaluation.verification import verify
from partialfc.plot.reject_picture import draw_reject
from partialfc.training.run import train

CONFIGS = Path(__file__).parents[1] / "configs"
DEGRADED = 0.5  # share of the images
UP_TO = 0.95
SHARES = (0.0, 0.1, 0.3)
TRAINING, PAIRS, RATED = 0, 1, 2  # keys of what is degraded
MAGFACE = (
    "data.augment={shift: 0.06, scale: 0.1, rotate: 8}",
    "backbone={name: convnet, embedding_size: 64, options: {widths: [24, 48], blocks: [1, 1]}}",
    "head.margin={name: magface, scale: 16, l_a: 4, u_a: 24, l_m: 0.05, u_m: 0.5, lambda_g: 10}",
    "optimizer.lr=0.15",
)


def main() -> None:
    options = _arguments()
    torch.set_num_threads(1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = options.work or Path(name)
        folder.mkdir(exist_ok=True)
        source = open_source(options.data / "train.rec")
        write_source(
            folder / "train.rec", _degraded(source), num_classes=source.num_classes, image_size=(32, 32)
        )
        pairs = read_pairs(options.data / "pairs.bin")
        for seed in options.seeds:
            found, curves = _measure(*_trained(folder, seed, options), pairs, seed, options)
            rows += [{"seed": seed, "steps": options.steps, **row, **surroundings()} for row in found]
            write(options.output, rows)
            if options.picture and seed == options.seeds[0]:
                draw_reject(curves, options.picture, fmr=options.fmr, up_to=UP_TO)
    _print(rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000, help="of the backbone")
    parser.add_argument("--pfe-steps", type=int, default=300, help="of the uncertainty")
    parser.add_argument("--images", type=int, default=1000, help="that each degradation is rated on")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--fmr", type=float, default=1e-3, help="false match rate that sets the threshold")
    parser.add_argument("--work", type=Path, help="folder for the runs, which go on where they stopped")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    return parser.parse_args()


def _degraded(source: Labelled) -> Iterator[tuple[bytes, int]]:
    for index in range(len(source)):
        data, label = source.read(index)
        yield _maybe_degraded(data, TRAINING, index), label


def _maybe_degraded(image: bytes, *key: int) -> bytes:
    """An encoded image, or with the probability DEGRADED one that is worse, in one of all ways."""
    rng = keyed(*key)
    chosen, kind, strength = rng.random(), int(rng.integers(len(DEGRADATIONS))), rng.random()
    if chosen >= DEGRADED:
        return image
    return encode_png(degrade(decode(image, channels=1), [*DEGRADATIONS][kind], strength, rng))


def _trained(folder: Path, seed: int, options: argparse.Namespace) -> tuple[Trained, Trained]:
    """The run with MagFace, and the one with the uncertainty of its embeddings."""
    common = (
        f"data.train={folder / 'train.rec'}",
        f"run.seed={seed}",
        "train.threads=1",
        "verification.sets={}",
        "metrics.port=null",
        f"train.batch_size={options.batch}",
    )
    runs = [folder / f"{name}-{seed}" for name in ("magface", "pfe")]
    _train("quickstart", runs[0], options.steps, *MAGFACE, *common)
    _train("pfe", runs[1], options.pfe_steps, *MAGFACE[:2], f"objective.backbone_from={runs[0]}", *common)
    return load_trained(runs[0]), load_trained(runs[1])


def _train(config: str, run: Path, steps: int, *overrides: str) -> None:
    lengths = (
        f"train.steps={steps}",
        f"schedule.warmup_steps={steps // 10}",
        f"checkpoint.every_steps={steps}",
    )
    train(load_config(CONFIGS / f"{config}.yaml", [f"run.dir={run}", *overrides, *lengths]))


def _measure(
    magface: Trained, pfe: Trained, pairs: PairSet, seed: int, options: argparse.Namespace
) -> tuple[list[Row], dict[str, RejectCurve]]:
    """A row for each figure, and the curves that areas are of."""
    rows: list[Row] = []
    distinct = list(dict.fromkeys(pairs.images))[: options.images]
    for kind in DEGRADATIONS:
        strengths = np.array([keyed(RATED, seed, index).random() for index in range(len(distinct))])
        worse = [
            encode_png(degrade(decode(image, channels=1), kind, strength, keyed(RATED, seed, index, 1)))
            for index, (image, strength) in enumerate(zip(distinct, strengths.tolist(), strict=True))
        ]
        for name, quality in _qualities(magface, pfe, worse).items():
            value = -spearman(quality, strengths)
            rows.append({"quality": name, "measure": f"spearman: {kind}", "value": round(value, 4)})
    place: dict[bytes, int] = {}
    for image in pairs.images:
        place.setdefault(image, len(place))
    images = [_maybe_degraded(image, PAIRS, seed, index) for image, index in place.items()]
    of_pairs = np.array([place[image] for image in pairs.images])
    qualities = {
        name: each[of_pairs].reshape(-1, 2) for name, each in _qualities(magface, pfe, images).items()
    }
    curves = {}
    for score in ("cosine", "mls"):
        match = matcher(pfe, score)
        scores = match.scores(_embedded(match.network, images, pfe)[of_pairs].numpy())
        result = verify(scores, pairs.same)
        rows.append({"quality": score, "measure": "accuracy", "value": round(result.accuracy, 4)})
        for name, quality in qualities.items():
            curve = error_versus_reject(scores, pairs.same, quality, fmr=options.fmr)
            if score == "cosine":
                curves[name] = curve
            figures = {"area": curve.area(UP_TO)} | {f"FNMR at {each:.0%}": curve.at(each) for each in SHARES}
            rows += [
                {"quality": name, "measure": f"{score}: {what}", "value": round(value, 4)}
                for what, value in figures.items()
            ]
    return rows, curves


def _qualities(magface: Trained, pfe: Trained, images: Sequence[bytes]) -> dict[str, np.ndarray]:
    found = {}
    for name, trained, by in (("MagFace's norm", magface, "norm"), ("PFE's sigma", pfe, "pfe")):
        rated = rater(trained, by)
        found[name] = rated.quality(_embedded(rated.network, images, trained)).numpy()
    return {**found, "random": random_quality(len(images))}


def _embedded(network: torch.nn.Module, images: Sequence[bytes], trained: Trained) -> torch.Tensor:
    return embed(network, images, image_size=trained.image_size, channels=1, device=torch.device("cpu"))


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """The correlation of ranks, equal values sharing the mean of theirs."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _print(rows: Sequence[Row]) -> None:
    for measure, name in dict.fromkeys((row["measure"], row["quality"]) for row in rows):
        values = [row["value"] for row in rows if (row["measure"], row["quality"]) == (measure, name)]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{measure:<28}{name:<16}{statistics.mean(values):>8.4f} ± {spread:.4f}")


if __name__ == "__main__":
    main()
