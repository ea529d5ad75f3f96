"""Looks at images and this machine, and writes a config for them with the files it names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

from partialfc.config.load import merge, parse_config
from partialfc.data.pairs.files import write_pairs
from partialfc.data.sources.keys import read_keys, write_keys
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.source import open_source
from partialfc.errors import ConfigError, DataError
from partialfc.files import remove, require_folder, write_whole
from partialfc.suggest import told
from partialfc.suggest.asked import Asked
from partialfc.suggest.commented import commented
from partialfc.suggest.given import Given
from partialfc.suggest.held_out import HeldOut
from partialfc.suggest.look import Look, labels_of, look_at
from partialfc.suggest.machine import Machine, this_machine
from partialfc.suggest.network import network_for
from partialfc.suggest.suggestion import Files, sections, suggest
from partialfc.suggest.verified import Verified, verified_on

SUFFIXES = (".yaml", ".yml", "")  # of the config that is written
ORIGIN = "the suggestion"
GIVEN = "Given when this file was written."


def write_suggestion(asked: Asked) -> list[str]:
    """Write the config, and what it names: keys of held-out images, pairs of them. Lines that say it.

    Raises ConfigError where the config cannot be written, where a file is there already and may not go, and
    for overrides that are wrong; DataError for images that cannot be trained on; OSError where the files
    cannot be written, none of which is left then.
    """
    _require_file(asked.path)
    _refuse_existing(asked)
    given = Given.by(asked.overrides)
    if "data.train" in given.values:
        raise ConfigError(
            f"override data.train: the images are those that are named first, {asked.told}; leave it out, "
            "or name its images there"
        )
    given_depth, own = given.whole("data.class_depth", least=0), given.path("data.leave_out")
    depth = asked.class_depth if given_depth is None else given_depth
    source = open_source(
        asked.images,
        class_depth=depth,
        root=given.path("data.root"),
        only=given.path("data.only"),
        leave_out=own,
    )
    labels = labels_of(source)
    look = look_at(source, labels)
    if look.classes == 1:
        raise DataError(
            f"{asked.told}: all {look.images} images are of one class, so there is nothing to tell apart; "
            "add a second class, or check the layout: a folder per class"
        )
    if look.bad and asked.sound and not given.whole("data.max_bad_records"):
        raise DataError(
            f"{told.bad(asked, look)}, which would end the training; after partialfc data check {asked.told} "
            "--write-bad bad.txt train with data.leave_out=bad.txt"
        )
    machine = this_machine(given.text("train.device") or "auto", ranks=asked.ranks)
    network = network_for(look.side, look.images, accelerator=machine.has_accelerator)
    size = given.whole("data.image_size") or network.size
    verified = verified_on(asked, given, source, labels, image_size=size)
    text = _config(asked, given, look, machine, verified, class_depth=depth)
    with _whole_or_none(asked):
        if verified.held is not None:
            write_keys(asked.keys, _keys(source, verified.held, own))
        if verified.pairs is not None:
            write_pairs(asked.pairs, verified.pairs)
        write_whole(asked.path, text)
    return list(told.summary(asked, look, machine, verified))


def _config(
    asked: Asked, given: Given, look: Look, machine: Machine, verified: Verified, *, class_depth: int
) -> str:
    files = Files(
        asked.images,
        asked.run_dir,
        class_depth,
        sets=verified.sets,
        sets_why=verified.why,
        pairs=None if verified.pairs is None else len(verified.pairs.same),
    )
    classes, images, overrides = look.classes, look.images, list(asked.overrides)
    if verified.held is not None:
        images -= len(verified.held.indices)
        classes -= verified.held.of if verified.held.kind == "classes" else 0
        own = given.text("data.leave_out")
        more = f", and what {own} leaves out" if own else ""
        files = replace(files, leave_out=str(asked.keys), leave_out_why=f"{told.held(verified.held)}{more}.")
        overrides = [each for each in overrides if not each.startswith("data.leave_out=")]
    choices = suggest(look, machine, files, classes=classes, images=images, seed=asked.seed, given=given)
    suggested = sections(choices)
    parse_config(suggested, overrides, ORIGIN)
    merged = merge(suggested, overrides, ORIGIN)
    comments = {
        key: choice.why if _value(merged, key) == choice.value else GIVEN for key, choice in choices.items()
    }
    return commented(merged, comments, heading=told.heading(asked, look, machine))


def _require_file(path: Path) -> None:
    """ConfigError where no config can be written to the path, before the images are looked at."""
    if path.is_dir():
        raise ConfigError(f"-o is {path}, a folder; name a file in it, such as {path / 'config.yaml'}")
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"-o is {path}; a config is written as YAML, in which each key has its reason: name a .yaml "
            f"file, such as {path.with_suffix('.yaml')}"
        )
    require_folder("the folder of the config", path.parent)


def _refuse_existing(asked: Asked) -> None:
    there = [path for path in (asked.path, asked.keys, asked.pairs) if os.path.lexists(path)]
    if there and not asked.overwrite:
        raise ConfigError(f"{there[0]} exists; choose another name with -o, or replace it with --overwrite")


def _keys(source: Labelled, held: HeldOut, own: Path | None) -> Iterator[tuple[str, str]]:
    """Keys to leave out, with the class as a comment, behind those that were left out already."""
    before = () if own is None else ((key, f"of {own}") for _, key in read_keys(own))
    names = source.classes
    ours = (
        (source.key(index), "" if names is None else " ".join(names[source.class_id(index)].split()))
        for index in held.indices.tolist()
    )
    return chain(before, ours)


@contextmanager
def _whole_or_none(asked: Asked) -> Iterator[None]:
    """Where the files cannot all be written, those that were are deleted."""
    try:
        asked.path.parent.mkdir(parents=True, exist_ok=True)
        for path in (asked.keys, asked.pairs):
            remove(path)  # of an earlier config: this one may not need it
        yield
    except OSError:
        for path in (asked.keys, asked.pairs):
            remove(path)
        raise


def _value(mapping: object, key: str) -> object:
    for part in key.split("."):
        mapping = mapping.get(part) if isinstance(mapping, dict) else None
    return mapping
