"""A run's folder opened for its report: what can be read is there, and of the rest it is said why not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partialfc.config import Config
from partialfc.config.load import parse_config
from partialfc.config.yaml12 import dump_line, load
from partialfc.data.pairs.files import PairSet, read_pairs
from partialfc.data.parallel.progress import ShowProgress
from partialfc.errors import PairsError, PartialFCError
from partialfc.files import told
from partialfc.report.run_page.config_table import flat
from partialfc.report.run_page.hardest import hardest_pairs, require_scored, shown_of_each
from partialfc.report.run_page.log import Log
from partialfc.report.run_page.looks import HardPairs
from partialfc.report.saved_scores import Scores, read_scores, score_files


@dataclass(eq=False)
class Opened:
    """shown: the config's keys as text. config: the same checked; None where this version cannot read it.

    pairs: the sets that can be read. left_out: what is missing on the page, and why.
    """

    folder: Path
    log: Log
    shown: Mapping[str, str] = field(default_factory=dict)
    config: Config | None = None
    scores: list[Scores] = field(default_factory=list)
    pairs: dict[str, PairSet] = field(default_factory=dict)
    hardest: list[HardPairs] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @contextmanager
    def or_left_out(self, what: str) -> Iterator[None]:
        """Inside, an error of the package's own or of a file becomes a sentence of `left_out`."""
        try:
            yield
        except (PartialFCError, OSError) as error:
            reason = " ".join((told(error) if isinstance(error, OSError) else str(error)).split())
            self.left_out.append(f"{what}: {reason}")


def open_run(
    folder: Path, log: Log, *, runs: int, progress: ShowProgress, images: bool, max_pixels: int
) -> Opened:
    """What cannot be read is left out.

    runs: how many the page is about. images: whether the hardest pairs are shown or only named.
    """
    opened = Opened(folder, log)
    _read_scores(opened)
    with opened.or_left_out("Config"):
        _read_config(opened)
    names = list(dict.fromkeys(each.name for each in opened.scores))
    for done, name in enumerate(names):
        progress("verification sets", done, len(names))
        with opened.or_left_out(f"Hardest pairs and map of {name}"):
            _read_set(
                opened, name, most=shown_of_each(runs * len(names)), images=images, max_pixels=max_pixels
            )
    progress("verification sets", len(names), len(names))
    return opened


def _read_scores(opened: Opened) -> None:
    files = score_files(opened.folder)
    for path, name in files.items():
        with opened.or_left_out(f"ROC, scores and hardest pairs of {name}"):
            opened.scores.append(read_scores(path, name))
    verified = dict.fromkeys(each["set"] for each in opened.log.events["verification"])
    opened.left_out += [
        f"ROC, scores and hardest pairs of {name}: {opened.folder / 'verification'} has no scores of it"
        for name in verified
        if name not in files.values()
    ]


def _read_config(opened: Opened) -> None:
    path = opened.folder / "config.yaml"
    content = load(path.read_text(encoding="utf-8", errors="replace"), str(path))
    if isinstance(content, Mapping):
        opened.shown = flat(content, dump_line)
    opened.config = parse_config(_mapping(content), [], str(path))


def _mapping(content: Any) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}


def _read_set(opened: Opened, name: str, *, most: int, images: bool, max_pixels: int) -> None:
    """The pairs of a set that the run has scores of, and which of them are hardest."""
    if opened.config is None:
        return
    place = opened.config.verification.sets.get(name)
    if place is None:
        opened.left_out.append(
            f"Hardest pairs and map of {name}: verification.sets does not have it any more"
        )
        return
    if place.exists() and not (place.is_file() or place.is_dir()):  # a pipe might be read for ever
        raise PairsError(f"{place}: is neither a file nor a folder")
    pairs = read_pairs(place)
    newest = next((each for each in opened.scores if each.name == name and not each.untrained), None)
    for each in opened.scores:
        if each.name == name:
            require_scored(each, pairs)
    folds = pairs.fold_numbers(opened.config.verification.folds)
    opened.scores = [
        each.with_pairs(pairs.identities, folds) if each.name == name else each for each in opened.scores
    ]
    opened.pairs[name] = pairs
    if newest is not None:
        filled = newest.with_pairs(pairs.identities, folds)
        opened.hardest.append(hardest_pairs(filled, pairs, most=most, images=images, max_pixels=max_pixels))
