"""The scores that a run's verifications left in `verification/`, checked: a run may come from a stranger."""

from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from partialfc.errors import DataError
from partialfc.evaluation.intervals import checked_identities
from partialfc.evaluation.verification import checked, cross_validate

LATEST, UNTRAINED = ".latest", ".untrained"  # after the name of a set, in a file's name
FOLDS, FEWEST = 10, 2  # where a file has none; of fewer than FOLDS pairs FEWEST


@dataclass(frozen=True, eq=False)
class Scores:
    """Of one set at one step: scores [P], same [P], and folds as `verify` takes them; identities [P, 2], None
    where an older version of the program wrote the file. untrained: from before training.
    """

    name: str
    step: int
    untrained: bool
    scores: np.ndarray
    same: np.ndarray
    folds: int | np.ndarray
    identities: np.ndarray | None = None

    def with_pairs(self, identities: np.ndarray, folds: int | np.ndarray) -> "Scores":
        """With what the file lacks, from the pairs themselves."""
        return self if self.identities is not None else replace(self, identities=identities, folds=folds)


def score_files(run_dir: Path) -> dict[Path, str]:
    """The files, each with the name of its set: those from before training first, and then by name."""
    files = sorted((run_dir / "verification").glob("*.npz"))
    return {
        path: path.stem.removesuffix(LATEST).removesuffix(UNTRAINED) for path in sorted(files, key=_is_latest)
    }


def _is_latest(path: Path) -> bool:
    return path.stem.endswith(LATEST)


def read_scores(path: Path, name: str) -> Scores:
    """Those in a file, of the set of this name. Raises DataError where it is damaged."""
    try:
        with np.load(path) as saved:
            scores, same = checked(saved["scores"], saved["same"])
            identities = checked_identities(saved["identities"], len(same)) if "identities" in saved else None
            folds = saved.get("folds", np.array(FOLDS if len(same) >= FOLDS else FEWEST))
            step = int(saved["step"])
        folds = int(folds) if folds.ndim == 0 else folds
        cross_validate(scores, same, folds)
    except (ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: is damaged, or holds no scores") from error
    return Scores(name, step, not _is_latest(path), scores, same, folds, identities)
