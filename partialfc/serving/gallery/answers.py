"""Who is in an image, for people and for programs."""

from collections.abc import Sequence

from partialfc.data.sources.keys import as_key
from partialfc.errors import DataError
from partialfc.files import json_text
from partialfc.serving.card import Card
from partialfc.serving.gallery.gallery import Match


def threshold_of(gallery: Card, model: Card, far: float, of: str | None) -> float:
    """The cosine at a false accept rate, by the card of the model that searches, or else the gallery's.

    Raises DataError where neither has it.
    """
    try:
        return model.threshold_at(far, of=of).threshold
    except DataError:
        return gallery.threshold_at(far, of=of).threshold


def who(matches: Sequence[Match], threshold: float | None) -> Match | None:
    """The best match, unless its score is below the threshold; None: nobody."""
    best = matches[0] if matches else None
    return best if best is None or threshold is None or best.score >= threshold else None


def as_text(key: str, matches: Sequence[Match], threshold: float | None) -> str:
    """An image's answer, and its matches in lines of their own."""
    found = who(matches, threshold)
    said = "nobody" if found is None else f"{as_key(found.name)} {found.score:.4f}"
    lines = [f"  {each.score:.4f} {as_key(each.name)}{_of(each)}" for each in matches]
    return "\n".join([f"{key}: {said}", *lines])


def as_json_line(key: str, matches: Sequence[Match], threshold: float | None) -> str:
    """One JSON object: image, name (null for nobody), score, threshold, matches."""
    found = who(matches, threshold)
    return json_text(
        {
            "image": key,
            "name": None if found is None else found.name,
            "score": matches[0].score if matches else None,
            "threshold": threshold,
            "matches": [{"name": each.name, "key": each.key, "score": each.score} for each in matches],
        }
    )


def _of(match: Match) -> str:
    return f" ({match.key})" if match.key else ""
