"""What a checkpoint comes from: the ones before it in its folder, and where its run was told to begin."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint by its name and its seal, which tells it from another one that had the same name."""

    name: str
    seal: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The checkpoint that a run began from because `checkpoint.resume` named it.

    path: as it was given, made absolute. seal: of the checkpoint; empty where it cannot be read.
    """

    path: str
    seal: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """The checkpoints of one folder that follow one another, newest first, and what they began from.

    In a checkpoint's state it is what the checkpoint goes on from; in the folder's file `lineage` the newest
    checkpoint is the first.
    """

    line: tuple[Saved, ...] = ()
    origin: Origin | None = None

    def followed_by(self, saved: Saved) -> Self:
        """The lineage with one more checkpoint."""
        return replace(self, line=(saved, *self.line))

    def begun_from(self, origin: Origin) -> Self:
        """The same checkpoints, for a run that was told to begin from the newest of them, or elsewhere."""
        return replace(self, origin=origin)

    def to_dict(self) -> dict[str, Any]:
        origin = self.origin
        return {
            "line": [[saved.name, saved.seal] for saved in self.line],
            "origin": None if origin is None else {"path": origin.path, "seal": origin.seal},
        }

    @staticmethod
    def from_dict(values: object) -> "Lineage | None":
        """What `to_dict` gave; None for anything else."""
        match values:
            case {"line": [*line], "origin": None | {"path": str(), "seal": str()} as origin}:
                begun = None if origin is None else Origin(origin["path"], origin["seal"])
                pairs = [pair for pair in line if isinstance(pair, list) and len(pair) == 2]
                if len(pairs) == len(line) and all(isinstance(part, str) for pair in pairs for part in pair):
                    return Lineage(tuple(Saved(*pair) for pair in pairs), begun)
        return None


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint that lies in a folder, as far as it can be read.

    folder: its folder's name. seal: None where its state cannot be read. before: what it goes on from; None
    where that is not known, as of one that version 0.1 wrote.
    """

    folder: str
    seal: str | None
    before: Lineage | None

    def to_dict(self) -> dict[str, Any]:
        before = None if self.before is None else self.before.to_dict()
        return {"folder": self.folder, "seal": self.seal, "before": before}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Found":
        return Found(values["folder"], values["seal"], Lineage.from_dict(values["before"]))


@dataclass(frozen=True, slots=True)
class Records:
    """All that a folder of checkpoints says about them.

    found: by name. latest, best: what these files name. noted: what the file `lineage` says.
    """

    found: Mapping[str, Found]
    latest: str | None = None
    best: str | None = None
    noted: Lineage | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "found": {name: found.to_dict() for name, found in self.found.items()},
            "latest": self.latest,
            "best": self.best,
            "noted": None if self.noted is None else self.noted.to_dict(),
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Records":
        return Records(
            {name: Found.from_dict(found) for name, found in values["found"].items()},
            values["latest"],
            values["best"],
            Lineage.from_dict(values["noted"]),
        )
