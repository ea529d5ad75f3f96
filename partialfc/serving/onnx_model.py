"""A trained network in an .onnx file, run by onnxruntime."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partialfc.errors import ConfigError, DataError, MissingExtraError, in_one_line, installing
from partialfc.serving.card import CARD_KEY, Card, CardInput
from partialfc.serving.onnx_nodes import first_names
from partialfc.serving.rows import Name, Pixels, Rows, check_pixels, numbered, unit_rows
from partialfc.serving.runtime import onnxruntime, session
from partialfc.serving.with_card import WithCard

log = logging.getLogger(__name__)

TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
PROVIDER = "ExecutionProvider"  # how onnxruntime's names for devices end: CPUExecutionProvider
FIRST_NODES = 8  # of a graph: where InsightFace's reader of models looks whether it normalises pixels itself
SUBTRACTS, MULTIPLIES = ("Sub", "_minus"), ("Mul", "_mul")  # how the names of nodes that do so begin


class OnnxModel(WithCard):
    """An .onnx as a `Model`: by its card; without one, by its shapes, as InsightFace's are.

    threads: of one call, None: one a core. device: "cpu", "auto", or another that onnxruntime was built for.
    Calls from several threads at a time are fine.

    Raises DataError where the file is damaged, or takes or gives something else; MissingExtraError without
    onnxruntime; ConfigError for a device that it has not.
    """

    def __init__(self, path: Path, *, threads: int | None = None, device: str = "cpu") -> None:
        self._session = _session(path, threads, device)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._input, self._output = inputs[0], outputs[0]  # further outputs say more, such as a variance
        if len(inputs) != 1:
            raise DataError(f"{path}: takes {len(inputs)} inputs; it must take one, the images")
        text = self._session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
        if text is not None:
            self.card = Card.from_json(text, origin=str(path))
            self._require(path)
        else:
            self.card = self._card_by_shapes(path)
            log.info(
                "%s has no card: taken as InsightFace's, RGB of %d x %d pixels%s",
                path,
                self.image_size,
                self.image_size,
                ", which its graph normalises" if self.card.input.normalised else "",
            )
        batch = self._input.shape[0]
        self._batch = batch if isinstance(batch, int) and batch > 0 else None  # that it takes, no other

    def embed(self, images: Pixels, *, name: Name = numbered) -> Rows:
        """uint8 [n, image_size, image_size, channels] -> rows of norm 1, float32 [n, D]; see `Model`."""
        return unit_rows(self.rows(images), name)

    def rows(self, images: Pixels) -> Rows:
        """uint8 [n, image_size, image_size, channels] -> what the graph gives, float32 [n, D]."""
        check_pixels(images, size=self.image_size, channels=self.channels)
        if not len(images):
            return np.zeros((0, self.embedding_size), np.float32)
        taken = self._as_taken(images)
        if self._batch is None:
            return self._run(taken).astype(np.float32, copy=False)
        parts = [
            self._padded(taken[start : start + self._batch]) for start in range(0, len(taken), self._batch)
        ]
        return np.concatenate(parts).astype(np.float32, copy=False)

    def _as_taken(self, images: Pixels) -> npt.NDArray[Any]:
        """The pixels as the graph takes them."""
        takes = self.card.input
        taken: npt.NDArray[Any] = images
        if takes.layout == "NCHW":
            taken = images.transpose(0, 3, 1, 2)
        if takes.dtype == "float32":
            taken = taken.astype(np.float32, order="C")
        if not takes.normalised:
            taken /= np.float32(127.5)
            taken -= np.float32(1)
        return np.ascontiguousarray(taken)

    def _run(self, taken: npt.NDArray[Any]) -> npt.NDArray[Any]:
        rows: npt.NDArray[Any] = self._session.run([self._output.name], {self._input.name: taken})[0]
        return rows

    def _padded(self, taken: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of a batch that may have fewer images than the graph takes."""
        assert self._batch is not None
        missing = self._batch - len(taken)
        if missing:
            taken = np.concatenate([taken, np.zeros((missing, *taken.shape[1:]), taken.dtype)])
        return self._run(taken)[: self._batch - missing]

    def _require(self, path: Path) -> None:
        """DataError unless the graph takes and gives what the card says."""
        card, size = self.card, self.card.image_size
        taken = (size, size, card.channels) if card.input.layout == "NHWC" else (card.channels, size, size)
        dtype = TYPES.get(self._input.type, self._input.type)
        if dtype != card.input.dtype or not _fits(self._input.shape[1:], taken):
            raise DataError(
                f"{path}: its card says that it takes {card.input.dtype} [n, {', '.join(map(str, taken))}], "
                f"but its graph takes {dtype} {self._input.shape}; export it again"
            )
        if card.input.dtype == "uint8" and not card.input.normalised:
            raise DataError(f"{path}: its card says that it takes uint8 already normalised; export it again")
        if not _fits(self._output.shape[1:], (card.embedding_size,)):
            raise DataError(
                f"{path}: its card says that rows have {card.embedding_size} numbers, but its graph gives "
                f"{self._output.shape}; export it again"
            )

    def _card_by_shapes(self, path: Path) -> Card:
        takes, gives = self._input.shape, self._output.shape
        sides = {each for each in takes[2:] if isinstance(each, int)}
        numbers = gives[-1] if len(gives) == 2 else None
        if (
            self._input.type != "tensor(float)"
            or len(takes) != 4
            or takes[1] not in (1, 3)
            or len(sides) != 1
            or not all(isinstance(each, int) for each in takes[2:])
            or not isinstance(numbers, int)
        ):
            raise DataError(
                f"{path}: has no card of partialfc's, and is no network for embeddings as InsightFace's are: "
                f"those take float [n, 3, 112, 112] and give [n, 512], this takes {self._input.type} "
                f"{takes} and gives {gives}"
            )
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Card(
            name=path.stem,
            image_size=sides.pop(),
            channels=takes[1],
            embedding_size=numbers,
            input=CardInput(normalised=_normalises(path)),
            weights=digest,
        )


def _normalises(path: Path) -> bool:
    """Whether a graph of InsightFace's takes pixels 0..255: told as by their `arcface_onnx.py`."""
    names = first_names(path, FIRST_NODES)
    return all(any(name.startswith(each) for name in names) for each in (SUBTRACTS, MULTIPLIES))


def _session(path: Path, threads: int | None, device: str) -> Any:
    if not path.exists():
        raise DataError(f"{path}: does not exist")
    try:
        runtime = onnxruntime()
    except ImportError as error:
        raise MissingExtraError(
            f"{path} needs onnxruntime, which cannot be imported ({error}): pip install onnxruntime, or "
            f"{installing('serve')}"
        ) from error
    provider = _provider(runtime.get_available_providers(), device)
    try:
        return session(str(path), threads=threads, provider=provider)
    except Exception as error:  # of a dozen kinds, each of onnxruntime's own
        raise DataError(f"{path}: onnxruntime cannot open it: {in_one_line(error)}") from error


def _provider(available: list[str], device: str) -> str:
    """onnxruntime's name for a device; it lists the fastest first. ConfigError where it has none."""
    if device == "auto":
        return next(each for each in available if each != "AzureExecutionProvider")  # which is no device
    names = {each.removesuffix(PROVIDER).lower(): each for each in available}
    if device.lower() not in names:
        raise ConfigError(
            f"device is {device!r}; this onnxruntime has {', '.join(sorted(names))}: choose one of these or "
            "auto, or install its package for that device, such as onnxruntime-gpu"
        )
    return names[device.lower()]


def _fits(shape: list[Any], wanted: tuple[int, ...]) -> bool:
    """Whether a shape is the wanted one as far as it says; a name stands for any number."""
    return len(shape) == len(wanted) and all(
        not isinstance(have, int) or have == want for have, want in zip(shape, wanted, strict=True)
    )
