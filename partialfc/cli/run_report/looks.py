"""What a run's checkpoint gives for its report: a map of held-out embeddings, accuracy by class size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from partialfc.cli.protocols.setting import embedder_of, ranks
from partialfc.cli.run_report.opened import Opened
from partialfc.data.images.codec import decode
from partialfc.data.pairs.files import PairSet
from partialfc.data.parallel.progress import ShowProgress
from partialfc.data.sources.labelled import Labelled
from partialfc.deploy.trained import Trained, load_trained
from partialfc.errors import DataError
from partialfc.evaluation.embedder import Embedder
from partialfc.evaluation.figures import mean_interval
from partialfc.report.run_page.chosen import images_by_size, images_for_map, size_bins
from partialfc.report.run_page.image_blocks import SIDE
from partialfc.report.run_page.looks import EmbeddingMap, Looks, SizeBin
from partialfc.report.run_page.projection import Method, project
from partialfc.report.tiles import thumbnail
from partialfc.training.builders.data import read_training_source

BATCH = 64  # images in a forward pass
REPLICATES = 1000


def look(
    opened: Opened,
    *,
    most: int,
    method: Method,
    images: bool,
    device: str,
    trust: Sequence[str],
    max_pixels: int,
    progress: ShowProgress,
) -> Looks:
    """`most`: images that are embedded for each map, and for the class sizes; 0: nothing is, nor loaded."""
    found = Looks(opened.hardest, left_out=opened.left_out)
    if not most:
        opened.left_out.append("Map of embeddings and class frequency: --embed 0 was given")
        return found
    if opened.config is None:
        return found
    if not (opened.folder / "checkpoints").is_dir():
        every = opened.config.checkpoint.every_steps
        opened.left_out.append(
            "Map of embeddings and class frequency: the run has no checkpoint, or was copied without; "
            f"checkpoint.every_steps is {every}"
        )
        return found
    with opened.or_left_out("Map of embeddings and class frequency"), ranks(device) as (world, own):
        trained = load_trained(opened.folder, trust=trust)
        embedder = embedder_of(
            trained, world, own, flip="none", amp="run", batch_size=BATCH, max_pixels=max_pixels
        )
        maps: list[EmbeddingMap] = []
        for name, pairs in opened.pairs.items():
            with opened.or_left_out(f"Map of {name}"):
                maps.append(_map(name, pairs, trained.step, embedder, most, method, images, progress))
        sizes: list[SizeBin] = []
        with opened.or_left_out("Class frequency"):
            sizes = _sizes(opened, trained, embedder, most, progress)
        return Looks(opened.hardest, maps, sizes, trained.step, opened.left_out)
    return found


def _map(
    name: str,
    pairs: PairSet,
    step: int,
    embedder: Embedder,
    most: int,
    method: Method,
    images: bool,
    progress: ShowProgress,
) -> EmbeddingMap:
    """Of distinct images, the identities of which are those of the pairs."""
    first: dict[bytes, int] = {}
    for index, image in enumerate(pairs.images):
        first.setdefault(image, index)
    places = np.fromiter(first.values(), np.int64)
    identities = pairs.identities.reshape(-1)[places]
    chosen = images_for_map(identities, most)
    places, identities = places[chosen], identities[chosen]
    encoded = [pairs.images[place] for place in places.tolist()]
    rows = _embedded(embedder, encoded, f"map of {name}", progress)
    drawn = project(rows.numpy(), method)
    shown = [thumbnail(decode(each), SIDE) for each in encoded] if images else []
    names = [
        f"identity {identity}, image {place % 2 + 1} of pair {place // 2}"
        for place, identity in zip(places.tolist(), identities.tolist(), strict=True)
    ]
    return EmbeddingMap(name, step, drawn.axes, drawn.places, identities, names, shown)


def _sizes(
    opened: Opened, trained: Trained, embedder: Embedder, most: int, progress: ShowProgress
) -> list[SizeBin]:
    """How often the nearest centre is an image's own, by how many images its class has."""
    assert opened.config is not None
    section = opened.config.data
    if any(not isinstance(place, Path) for place in section.places):
        opened.left_out.append(
            "Class frequency: data.train is not on this machine, and a report fetches nothing"
        )
        return []
    source = read_training_source(section, opened.folder)
    labels = np.asarray(source.class_ids())
    there = np.flatnonzero(labels >= 0)
    trained.centres(0, 1)  # which says so, before any work, where the run has none
    counts = np.bincount(labels[there])
    bins, parts = size_bins(counts), images_by_size(labels[there], most)
    places = [there[part] for part in parts]
    rows = _embedded(
        embedder, [_image(source, int(at)) for part in places for at in part], "class frequency", progress
    )
    nearest = trained.top_k(rows, 1)[1][:, 0].numpy()
    found, start = [], 0
    for (least, largest), part in zip(bins, places, strict=True):
        right = (nearest[start : start + len(part)] == labels[part]).astype(np.float64)
        start += len(part)
        classes = int(((counts >= least) & (counts <= largest)).sum())
        ends = mean_interval(right, np.ones(len(right)), labels[part], replicates=REPLICATES, seed=0)
        found.append(SizeBin(least, largest, classes, len(part), float(right.mean()), ends))
    return found


def _image(source: Labelled, index: int) -> bytes:
    data: bytes = source.read(index)[0]
    return data


def _embedded(
    embedder: Embedder, images: Sequence[bytes], stage: str, progress: ShowProgress
) -> torch.Tensor:
    """[n, D], a batch at a time, with a bar."""
    rows = []
    for start in range(0, len(images), BATCH):
        progress(stage, start, len(images))
        rows.append(embedder.own(images[start : start + BATCH]))
    progress(stage, len(images), len(images))
    found = torch.cat(rows)
    finite = found.isfinite().all(1)
    if not finite.all():
        raise DataError(
            f"{int((~finite).sum()):,} of {len(found):,} embeddings are not finite: the network has "
            "diverged; resume from an earlier checkpoint"
        )
    return found
