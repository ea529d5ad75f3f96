"""From which cosine on two images are taken for the same: the model card's, or one that was given."""

from dataclasses import dataclass

from partialfc.errors import ConfigError, DataError
from partialfc.serving.card import Card
from partialfc.serving.service.problem import unprocessable


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold on the cosine, and the false accept rate that it was measured at, if that is known."""

    threshold: float | None
    far: float | None

    def reached(self, cosine: float) -> bool | None:
        """Whether a cosine is enough; None where there is no threshold."""
        return None if self.threshold is None else cosine >= self.threshold


class Thresholds:
    """Chooses the threshold of a request.

    far: the false accept rate where a request names none; without it, the lowest that the card has. fixed: a
    threshold in place of the card's. Raises ConfigError where both are given or `fixed` is no cosine, and
    DataError where the card has nothing at `far`.
    """

    def __init__(self, card: Card, *, far: float | None = None, fixed: float | None = None) -> None:
        if fixed is not None and far is not None:
            raise ConfigError("--threshold and --far are both given: give one of them")
        if fixed is not None and not -1 <= fixed <= 1:
            raise ConfigError(f"--threshold is {fixed:g}: it must be a cosine, -1 to 1")
        self._card = card
        if fixed is not None:
            self._usual = Chosen(fixed, None)
        elif far is not None:
            self._usual = self._at(far)
        elif card.thresholds:
            self._usual = self._at(min(each.far for each in card.thresholds))
        else:
            self._usual = Chosen(None, None)

    def choose(self, far: float | None) -> Chosen:
        """The one of a request. Raises Problem, 422, where the card has none at the rate it names."""
        if far is None:
            return self._usual
        try:
            return self._at(far)
        except DataError as error:
            known = ", ".join(f"{each.far:g}" for each in self._card.thresholds) or "none"
            rule = f"must be one that the model's card has: {known}"
            raise unprocessable("far", far, rule) from error

    def _at(self, far: float) -> Chosen:
        found = self._card.threshold_at(far)
        return Chosen(found.threshold, found.far)
