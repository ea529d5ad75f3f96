"""The card of a model: what it takes, what it gives, what it was trained on, and how good it is.

Export writes it as JSON into an .onnx (metadata_props, under CARD_KEY) and as the file CARD_FILE of a folder.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
import numpy.typing as npt

from partialfc.errors import DataError
from partialfc.files import json_text, write_whole

FORMAT = 1
ROUNDING = 1e-6  # by which a measured cosine may be above 1
CARD_KEY = "partialfc"
CARD_FILE = "partialfc.json"

Layout = Literal["NCHW", "NHWC"]
Pixels = Literal["float32", "uint8"]
CardFlip = Literal["none", "sum", "concat"]
Precision = Literal["float32", "int8"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardInput:
    """What the exported graph takes. normalised: whether pixel / 127.5 - 1 is done inside of it."""

    layout: Layout = "NCHW"
    dtype: Pixels = "float32"
    normalised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """Of the weights, and of the images that they were trained on; "" where nobody said."""

    weights: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure measured on a set of images; low..high: its 95 % interval, None where none was made."""

    set: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The cosine from which on two images are taken for one class, where the false accept rate is `far`.

    tar: the share of pairs of one class that reach it; None where that was not measured.
    """

    set: str
    far: float
    threshold: float
    tar: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A model's card.

    image_size: pixels of a side. embedding_size: numbers of an output row, with flip="concat" both halves.
    flip: what is done inside with the mirrored image. unit: rows have norm 1. weights: as `weights_digest`
    gives it, "" where it is not known. step: of the training, None for a model from elsewhere; likewise
    classes 0 and an empty margin.
    """

    name: str
    image_size: int
    channels: int
    embedding_size: int
    version: str = ""
    step: int | None = None
    backbone: str = ""
    input: CardInput = field(default_factory=CardInput)
    flip: CardFlip = "none"
    unit: bool = False
    classes: int = 0
    margin: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""
    licence: Licence = field(default_factory=Licence)
    figures: tuple[Figure, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    weights: str = ""
    precision: Precision = "float32"

    @property
    def identity(self) -> str:
        """A hash of what decides the rows that it gives: two models with the same one may be compared.

        A run and its export have the same; it changes with the weights, the precision and the flip. How
        images go in, and whether the graph makes unit rows itself, change nothing.
        """
        decisive = {
            "name": "" if self.weights else self.name,
            "step": None if self.weights else self.step,
            "weights": self.weights,
            "precision": self.precision,
            "image_size": self.image_size,
            "channels": self.channels,
            "embedding_size": self.embedding_size,
            "flip": self.flip,
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def threshold_at(self, far: float, *, of: str | None = None) -> Threshold:
        """The threshold at a false accept rate, of the set named `of`, or of the first that has it.

        Raises DataError, which lists those that the card has, where it has no such one.
        """
        for each in self.thresholds:
            if abs(each.far - far) <= 1e-6 * far and of in (None, each.set):
                return each
        on = "" if of is None else f" on {of!r}"
        known = ", ".join(f"{each.far:g} ({each.set})" for each in self.thresholds)
        has = f"it has those at {known}" if known else "it has none"
        raise DataError(
            f"the card of {self.name} has no threshold at the false accept rate {far:g}{on}; {has}: give a "
            "threshold yourself, or export the model again with a set of pairs to measure it on"
        )

    def to_json(self, **layout: Any) -> str:
        """JSON text; layout: as for json.dumps."""
        return json_text({"format": FORMAT, **asdict(self)}, **layout)

    def write(self, folder: Path) -> None:
        """Write CARD_FILE into a folder, whole or not at all."""
        write_whole(folder / CARD_FILE, self.to_json(indent=2) + "\n")

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> "Card":
        """The card of JSON text from `origin`, which messages name.

        Keys that this version does not know are passed over. Raises DataError where it is no card, or one of
        a format that this version cannot read.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{origin}: its card is no JSON: {error}") from error
        return _Reader(origin, "card", document).card()


def read_card(folder: Path) -> Card:
    """The card of an exported folder. Raises DataError where it has none, or a damaged one."""
    path = folder / CARD_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; a model's folder is made by export") from error
    return Card.from_json(text, origin=str(path))


def weights_digest(named: Iterable[tuple[str, npt.NDArray[Any]]]) -> str:
    """SHA-256 of (name, array) pairs in the order of their names: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, array in sorted(named, key=lambda each: each[0]):
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class _Reader:
    """A JSON object, whose values are taken out with a check; `what` and the key stand in messages."""

    def __init__(self, origin: str, what: str, document: object) -> None:
        self._origin, self._what = origin, what
        if not isinstance(document, dict):
            raise self._wrong("", document, "a JSON object")
        self._document: dict[str, Any] = document

    def card(self) -> Card:
        found = self._document.get("format")
        if found != FORMAT:
            raise self._wrong("format", found, f"{FORMAT}: another version of partialfc reads this one")
        card = Card(
            name=self.get("name", str),
            image_size=self.count("image_size"),
            channels=self.count("channels"),
            embedding_size=self.count("embedding_size"),
            version=self.get("version", str, ""),
            step=self.get("step", int, None),
            backbone=self.get("backbone", str, ""),
            input=self.part("input").input(),
            flip=self.choice("flip", CardFlip, "none"),
            unit=self.get("unit", bool, False),
            classes=self.get("classes", int, 0),
            margin=self.get("margin", dict, {}),
            data=self.get("data", str, ""),
            licence=self.part("licence").licence(),
            figures=tuple(each.figure() for each in self.parts("figures")),
            thresholds=tuple(each.threshold() for each in self.parts("thresholds")),
            weights=self.get("weights", str, ""),
            precision=self.choice("precision", Precision, "float32"),
        )
        if card.channels not in (1, 3):
            raise self._wrong("channels", card.channels, "1 (grey) or 3 (RGB)")
        return card

    def input(self) -> CardInput:
        return CardInput(
            layout=self.choice("layout", Layout, "NCHW"),
            dtype=self.choice("dtype", Pixels, "float32"),
            normalised=self.get("normalised", bool, False),
        )

    def licence(self) -> Licence:
        return Licence(weights=self.get("weights", str, ""), data=self.get("data", str, ""))

    def figure(self) -> Figure:
        return Figure(
            set=self.get("set", str),
            name=self.get("name", str),
            value=self.get("value", float),
            low=self.get("low", float, None),
            high=self.get("high", float, None),
        )

    def threshold(self) -> Threshold:
        found = Threshold(
            set=self.get("set", str),
            far=self.get("far", float),
            threshold=self.get("threshold", float),
            tar=self.get("tar", float, None),
        )
        if not 0 < found.far <= 1:
            raise self._wrong("far", found.far, "a rate, above 0 and at most 1")
        if abs(found.threshold) > 1 + ROUNDING:
            raise self._wrong("threshold", found.threshold, "a cosine, from -1 to 1")
        return found

    def get(self, key: str, kind: type[T], *default: Any) -> T:
        """The value of a key, of a kind; or the default, which also null is."""
        value = self._document.get(key)
        if value is None and default:
            return cast(T, default[0])
        wanted = (int, float) if kind is float else (kind,)
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            raise self._wrong(key, value, f"of type {kind.__name__}")
        if kind is float and not math.isfinite(cast(float, value)):
            raise self._wrong(key, value, "a finite number")
        return cast(T, float(cast(float, value)) if kind is float else value)

    def count(self, key: str) -> int:
        value = self.get(key, int)
        if value < 1:
            raise self._wrong(key, value, "1 or more")
        return value

    def choice(self, key: str, among: Any, default: Any) -> Any:
        value = self._document.get(key, default)
        if value not in get_args(among):
            raise self._wrong(key, value, "one of " + ", ".join(get_args(among)))
        return value

    def part(self, key: str) -> "_Reader":
        """An object within."""
        return _Reader(self._origin, f"{self._what}.{key}", self.get(key, dict, {}))

    def parts(self, key: str) -> list["_Reader"]:
        """The objects of a list within."""
        return [
            _Reader(self._origin, f"{self._what}.{key}[{index}]", each)
            for index, each in enumerate(self.get(key, list, []))
        ]

    def _wrong(self, key: str, value: object, rule: str) -> DataError:
        where = f"{self._what}.{key}" if key else self._what
        return DataError(f"{self._origin}: {where} is {value!r}; it must be {rule}")
