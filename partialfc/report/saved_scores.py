"""The scores that a run's verifications left in `verification/`, checked: a run may come from a stranger."""

from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from partialfc.errors import DataError
from partialfc.evaluation.intervals import checked_identities
from partialfc.evaluation.verification import checked, cross_validate


@dataclass(frozen=True, eq=False)
class Scores:
    """Of one set at one step: scores [P], same [P]; identities [P, 2] and folds as `verify` takes them, None
    where an older version of the program wrote the file. untrained: from before training.
    """

    name: str
    step: int
    untrained: bool
    scores: np.ndarray
    same: np.ndarray
    identities: np.ndarray | None = None
    folds: int | np.ndarray | None = None

    def with_pairs(self, identities: np.ndarray, folds: int | np.ndarray) -> "Scores":
        """With what the file lacks, from the pairs themselves."""
        return self if self.identities is not None else replace(self, identities=identities, folds=folds)


def read_scores(run_dir: Path) -> list[Scores]:
    """All that there are: those from before training first, and then by name.

    Raises DataError for a file that is damaged.
    """
    files = sorted((run_dir / "verification").glob("*.npz"))
    return [_read(path) for path in sorted(files, key=lambda file: "latest" in file.name)]


def _read(path: Path) -> Scores:
    try:
        with np.load(path) as saved:
            scores, same = checked(saved["scores"], saved["same"])
            identities = checked_identities(saved["identities"], len(same)) if "identities" in saved else None
            folds = saved.get("folds")
            step = int(saved["step"])
        if folds is not None:
            folds = int(folds) if folds.ndim == 0 else folds
            cross_validate(scores, same, folds)
    except (ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is damaged: delete it, to have a report without it") from error
    return Scores(path.name.split(".")[0], step, "latest" not in path.name, scores, same, identities, folds)
