"""Whether a run goes on with the classes that it began with: what a checkpoint keeps of its data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.config import load_config
from partialfc.data.sources.labelled import Labelled
from partialfc.errors import ConfigError, DataError
from partialfc.training.classes import known_classes
from partialfc.training.run_folder import differences

PLACES = ("data.train", "data.class_depth", "data.root")
KEYS = (*PLACES, "data.only", "data.leave_out", "data.num_classes")  # which decide on classes
SAMPLE = 64  # images whose class ids are kept


def facts_of(source: Labelled) -> dict[str, Any]:
    """What a checkpoint keeps of the data, as JSON: counts, and the class ids of some images.

    named: whether classes have names; those are in the run's classes.json.
    """
    places = np.unique(np.linspace(0, len(source) - 1, SAMPLE).astype(np.int64)).tolist()
    return {
        "images": len(source),
        "classes_with_images": source.num_classes - source.empty_classes,
        "named": source.classes is not None,
        "labels": [_class_id(source, place) for place in places],
    }


def other_classes(
    checkpoint: Path, state: Mapping[str, Any], source: Labelled, data: Mapping[str, Any], *, num_classes: int
) -> str:
    """What differs between the classes of a checkpoint and those of the data; empty where nothing does.

    state: the checkpoint's; what one of an older version does not have is not compared. data: that section of
    this run's config.
    """
    before = state["config"].get("data")
    changed = _changed(before, data) if isinstance(before, Mapping) else []
    found = next(_problems(checkpoint, state, source, changed, num_classes), "")
    return f"{found} ({', '.join(changed)})" if found and changed else found


def way_out(checkpoint: Path) -> str:
    """What to do where the data has other classes."""
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint
    return (
        "give it the classes that it began with, or start in another run.dir, where "
        f"finetune.backbone_from={run} would take the network over"
    )


def told_by_config(error: DataError, run_dir: Path, data: Mapping[str, Any]) -> DataError:
    """The error of data that a run cannot go on with, and what of its config has changed since."""
    before: Mapping[str, Any] = {}
    with suppress(ConfigError):
        before = load_config(run_dir / "config.yaml").model_dump(mode="json")["data"]
    if not before or not (changed := _changed(before, data)):
        return error
    return type(error)(f"{error} (changed since the run was last started: {', '.join(changed)})")


def _problems(
    checkpoint: Path,
    state: Mapping[str, Any],
    source: Labelled,
    changed: Sequence[str],
    num_classes: int,
) -> Iterator[str]:
    before, names = _names_of(checkpoint), source.classes
    if before is not None and names is not None and before != names:
        yield _other_names(before, names)
    if state["num_classes"] != num_classes:
        yield f"number of classes {state['num_classes']:,} -> {num_classes:,}"
    facts, own = state.get("data"), facts_of(source)
    if not isinstance(facts, Mapping):
        return
    images, filled = ([each.get(key) for each in (facts, own)] for key in ("images", "classes_with_images"))
    if facts.get("named") and own["named"]:
        if filled[0] != filled[1] and any(each.startswith(PLACES) for each in changed):
            yield f"classes with images {filled[0]} -> {filled[1]}"
    elif images[0] != images[1]:
        yield f"images {images[0]} -> {images[1]}, of classes without names"
    elif facts.get("labels") != own["labels"]:
        yield "as many images, of other classes or in another order"


def _other_names(before: Sequence[str], names: Sequence[str]) -> str:
    gone, new = sorted({*before} - {*names}), sorted({*names} - {*before})
    if not gone and not new:
        at = next(at for at, pair in enumerate(zip(before, names, strict=False)) if pair[0] != pair[1])
        return f"class {at} is {names[at]!r}, and was {before[at]!r}: their order differs"
    listed = (("gone", gone), ("new", new))
    return "classes " + " and ".join(
        f"{what}: {len(part):,}, such as {part[0]!r}" for what, part in listed if part
    )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [each for each in differences(before, now, "data.") if each.partition(" ")[0] in KEYS]


def _names_of(checkpoint: Path) -> list[str] | None:
    """Of the classes of the run that a checkpoint lies in; None where it knows none."""
    folder = checkpoint.resolve().parent
    return known_classes(folder.parent) if folder.name == "checkpoints" else None


def _class_id(source: Labelled, index: int) -> int | None:
    """None of a damaged record."""
    try:
        return source.class_id(index)
    except DataError:
        return None
