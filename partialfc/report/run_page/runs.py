"""What is known of a run whose page is written: its name, its log, its config, its saved scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partialfc.report.run_page.log import Log
from partialfc.report.run_page.looks import Looks
from partialfc.report.saved_scores import Scores


@dataclass(frozen=True, eq=False)
class Run:
    """name: what the page calls it. config: its keys with their values as text; missing where there is none.

    scores: of its verification sets. looks: what was computed from its checkpoint and its data.
    """

    name: str
    folder: Path
    log: Log
    config: Mapping[str, str] = field(default_factory=dict)
    scores: Sequence[Scores] = ()
    looks: Looks = field(default_factory=Looks)

    @property
    def has_head(self) -> bool:
        """Whether it trains one: told by its config's text, as this version may not read it as a config."""
        objective = self.config.get("objective.name")
        alone = objective == "distill" and self.config.get("objective.alone") == "true"
        return objective != "pfe" and not alone

    def verifications(self, name: str) -> list[dict[str, Any]]:
        """The records of a set, in order."""
        return [each for each in self.log.events["verification"] if each["set"] == name]

    @property
    def sets(self) -> list[str]:
        """The names of its verification sets, in the order of the log."""
        return list(dict.fromkeys(each["set"] for each in self.log.events["verification"]))
