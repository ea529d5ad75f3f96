"""The angles that a run learns: what of them is measured in a few of its steps, and what its log keeps."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from partialfc.distributed.world import World
from partialfc.head.partial_fc import PartialFC

SAMPLES = 1024  # of a batch, over all ranks, whose embeddings are compared with all centres
CLASSES = 512  # over all ranks, evenly spaced, whose centres are
BINS = 60  # of 3 degrees

Degrees = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Angles:
    """One rank's angles in degrees; of a single class there are none but `target`.

    target [n]: between an embedding and its own centre. nearest_negative [n]: between it and the nearest
    centre of another class. nearest_centre [m]: between a class's centre and the nearest of another class.
    Of a class with sub-centres the nearest one counts.
    """

    target: Degrees
    nearest_negative: Degrees
    nearest_centre: Degrees


def is_measured(step: int, total_steps: int) -> bool:
    """Whether a step is the first or the middle one, which are measured besides those of verifications."""
    return step in (1, total_steps // 2)


@torch.no_grad()
def measure_angles(head: PartialFC, embeddings: Tensor, labels: Tensor) -> Angles:
    """Embeddings [B, D], labels [B] -> the angles of some of them, and of some centres, as all are now.

    Collective. One pass over all centres, for at most SAMPLES embeddings and the centres of CLASSES classes;
    the head stays as it is.
    """
    world, shard = head.world, head.shard
    labels = labels.cpu()
    valid = torch.nonzero(labels >= 0)[:, 0][: -(-SAMPLES // world.size)]
    own = labels[valid]
    embeddings = embeddings[valid.to(embeddings.device)].to(head.math_dtype)
    rows = _evenly_spaced(len(shard), -(-CLASSES // world.size))
    centres = _centres(head, rows)
    queries = torch.cat([embeddings, centres.flatten(0, 1)])
    target = _own_cosines(head, embeddings, own)
    if shard.num_classes == 1:
        return Angles(_degrees(target), np.empty(0), np.empty(0))
    cosines, classes = head.top_k(queries, 2)
    of_centres = torch.from_numpy(rows + shard.start).repeat_interleave(centres.shape[1])
    of_queries = torch.cat([own, of_centres]).to(classes.device)
    nearest = torch.where(classes[:, 0] == of_queries, cosines[:, 1], cosines[:, 0])
    of_classes = nearest[len(own) :].view(centres.shape[:2]).amax(1)
    return Angles(_degrees(target), _degrees(nearest[: len(own)]), _degrees(of_classes))


def angle_record(angles: Angles, world: World) -> dict[str, Any]:
    """What the log keeps of all ranks' angles, the same on each: histograms and means. Collective.

    Histograms have BINS counts from 0 to 180 degrees. An angle that is not a number is left out.
    """
    own = [angles.target, angles.nearest_negative, angles.nearest_centre]
    told = [_summary(each) for each in own]
    ranks = [json.loads(text) for text in world.gather_texts(json.dumps(told))]
    record: dict[str, Any] = {}
    for index, name in enumerate(("target", "nearest_negative", "nearest_centre")):
        record |= {
            f"{name}_{key}": value for key, value in _together([rank[index] for rank in ranks]).items()
        }
    return record


def _summary(angles: Degrees) -> dict[str, Any]:
    """Of one rank."""
    finite = angles[np.isfinite(angles)]
    smallest = float(finite.min()) if len(finite) else None
    return {
        "counts": np.histogram(finite, BINS, (0, 180))[0].tolist(),
        "sum": float(finite.sum()),
        "smallest": smallest,
    }


def _together(ranks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of all ranks."""
    counts = np.sum([rank["counts"] for rank in ranks], axis=0)
    count, smallest = int(counts.sum()), [rank["smallest"] for rank in ranks if rank["smallest"] is not None]
    return {
        "histogram": counts.tolist(),
        "degrees": sum(rank["sum"] for rank in ranks) / count if count else math.nan,
        "smallest": min(smallest, default=math.nan),
    }


def _own_cosines(head: PartialFC, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Embeddings [B, D] and their classes [B], on any rank -> the cosines [B] to their own centres."""
    world, shard = head.world, head.shard
    counts = world.gather_integers([len(labels)], device=embeddings.device)[:, 0].tolist()
    unit = world.all_gather_rows(normalize(embeddings), counts)
    places = world.all_gather_rows(labels.to(unit.device), counts)
    here = torch.nonzero((places >= shard.start) & (places < shard.stop))[:, 0]
    rows, where = np.unique((places[here] - shard.start).cpu().numpy(), return_inverse=True)
    centres = normalize(_centres(head, rows), dim=2)[torch.from_numpy(where).to(unit.device)]
    cosines = unit.new_zeros(len(unit))
    cosines[here] = torch.einsum("nd,nsd->ns", unit[here], centres).amax(1)
    first = sum(counts[: world.rank])
    return world.all_reduce_sum(cosines)[first : first + len(labels)]


def _centres(head: PartialFC, rows: npt.NDArray[np.int64]) -> Tensor:
    """Local rows [k] -> the S sub-centres of each class now [k, S, D]."""
    return head.current_rows(rows).view(len(rows), head.margin.sub_centers, head.embedding_size)


def _evenly_spaced(rows: int, count: int) -> npt.NDArray[np.int64]:
    """Of a shard's rows `count`, or all."""
    return np.unique(np.linspace(0, max(rows - 1, 0), min(rows, count)).astype(np.int64))


def _degrees(cosines: Tensor) -> Degrees:
    return torch.rad2deg(torch.acos(cosines.double().clamp(-1, 1))).cpu().numpy()
