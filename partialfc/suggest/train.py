"""Training on images without a config: one is written into the run's folder first."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from partialfc.config import Config, load_config, parse_config
from partialfc.config.yaml12 import dump_line
from partialfc.distributed.first_rank import on_first_rank
from partialfc.distributed.world import World
from partialfc.errors import ConfigError
from partialfc.suggest.asked import Asked
from partialfc.suggest.given import Given
from partialfc.suggest.write import write_suggestion
from partialfc.training import run

log = logging.getLogger(__name__)

NAME = "suggested.yaml"
GENERAL = (
    "train",
    "images",
    "data",
)  # names that say nothing of the images: then the folder's above stands before
# What decides where and how the ranks meet, before there is a config.
BEFORE = ("train.device", "train.threads", "train.timeout_seconds", "train.deterministic")
_OVERRIDE = re.compile(r"[a-z_]+(\.\w+)*=")
LEAST = {
    "data": {"train": "images"},
    "backbone": {"name": "convnet"},
    "optimizer": {"lr": 0.1},
    "train": {"batch_size": 1, "steps": 1},
}
CONFIGS = (".yaml", ".yml", ".json", "")  # suffixes of configs; files with others hold images or name them


def split(words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The arguments of a command: paths or URLs, and overrides, which have a key before their first "="."""
    overrides = [word for word in words if _OVERRIDE.match(word) and not os.path.exists(word)]
    return tuple(word for word in words if word not in overrides), overrides


def is_images(text: str) -> bool:
    """Whether an argument names images to train on, and not a config.

    Raises ConfigError for what is neither: a path without a suffix, where nothing is.
    """
    path = Path(text)
    if path.is_dir() or "://" in text or path.suffix.lower() not in CONFIGS:
        return True
    if not path.suffix and not path.exists():
        raise ConfigError(
            f"{text}: does not exist; give a config (.yaml), or images to train on: a folder of class "
            "folders, or a .rec file"
        )
    return False


def run_dir_for(images: str) -> str:
    """runs/ with the name of the images: of their file without its suffix, or of their folder.

    The last part of a path or URL that says something and is no pattern of several files.
    """
    path = Path(os.path.abspath(images))
    own = path.name if path.is_dir() else path.stem
    names = [name for name in (own, path.parent.name, "images") if name and not set(name) & set("*?{}[]")]
    return f"runs/{next((name for name in names if name not in GENERAL), names[0])}"


def train_images(images: tuple[str, ...], overrides: Sequence[str]) -> int:
    """Run or resume a training of these images, as training/run.py's `train`; collective under torchrun.

    Rank 0 looks at the images and writes NAME into the run's folder, where there is none; what `overrides`
    say is kept in it. A later call trains what that file says, with its own overrides on top. Raises what
    `write_suggestion` does, and ConfigError where the folder holds another run.
    """
    given = Given.by(overrides)
    run_dir = given.text("run.dir") or run_dir_for(images[0])
    path = Path(run_dir) / NAME
    _require_same(images, path)
    if path.exists():
        before = load_config(path, _later(overrides, path))
    else:
        settings = [f"{key}={dump_line(given.values[key])}" for key in BEFORE if key in given.values]
        before = parse_config({"run": {"dir": run_dir}} | LEAST, settings, "command line")

    def prepare(world: World) -> Config:
        seed = given.whole("run.seed") or 0
        asked = Asked(
            images, path, run_dir, overrides, seed=seed, overwrite=True, ranks=world.size, sound=True
        )
        written = on_first_rank(world, lambda: [] if path.exists() else write_suggestion(asked))
        if world.rank == 0:
            print(*(written or [f"going on with {path}"]), sep="\n", flush=True)
        return load_config(path, () if written else _later(overrides, path))

    return run.train(before, prepare=prepare)


def _require_same(images: Sequence[str], path: Path) -> None:
    """ConfigError where the run's folder has another config, or one for other images."""
    if not path.exists():
        if (path.parent / "checkpoints").is_dir():
            raise ConfigError(
                f"run.dir {path.parent} holds a run that has a config of its own; go on with that (partialfc "
                "train ITS_CONFIG), or give these images another run.dir"
            )
        return
    train = load_config(path).data.train
    others = [str(each) for each in ([train] if isinstance(train, str | Path) else train)]
    if [os.path.realpath(each) for each in others] != [os.path.realpath(each) for each in images]:
        raise ConfigError(
            f"run.dir {path.parent} holds a run on {' '.join(others)}, not on {' '.join(images)}; give "
            "run.dir=runs/NAME for this one"
        )


def _later(overrides: Sequence[str], path: Path) -> list[str]:
    """The overrides of a later call: what is left out stays, as held-out images are among it."""
    kept = [each for each in overrides if not each.startswith("data.leave_out=")]
    if len(kept) < len(overrides):
        log.warning("data.leave_out stays as in %s, which holds classes out as well", path)
    return kept
