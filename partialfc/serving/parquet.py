"""Embeddings as a parquet file, by pyarrow."""

import importlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.errors import MissingExtraError, installing
from partialfc.files import replacing
from partialfc.serving.card import CARD_KEY, Card
from partialfc.serving.images import Images
from partialfc.serving.row_file import RowFile


def require_parquet() -> None:
    """MissingExtraError where pyarrow is not installed."""
    _pyarrow("parquet")


def write_parquet(path: Path, file: RowFile, images: Images, skipped: set[int], card: Card) -> None:
    """Columns key, class (for images that have them) and embedding, a list of D numbers; a row an image.

    The card of the model is in the file's metadata.
    """
    arrow, parquet = _pyarrow(), _pyarrow("parquet")
    kind = arrow.list_(arrow.float32(), file.width)
    columns = [("key", arrow.string()), ("class", arrow.string()), ("embedding", kind)]
    schema = arrow.schema([each for each in columns if images.classed or each[0] != "class"])
    schema = schema.with_metadata({CARD_KEY: card.to_json()})
    names = _names(images, skipped)
    with replacing(path) as beside, parquet.ParquetWriter(beside, schema, use_dictionary=["class"]) as writer:
        for rows in file.blocks():
            keys, classes = zip(*islice(names, len(rows)), strict=True)
            table = {
                "key": arrow.array(keys, arrow.string()),
                "class": arrow.array(classes, arrow.string()),
                "embedding": arrow.FixedSizeListArray.from_arrays(
                    arrow.array(np.ascontiguousarray(rows).reshape(-1)), file.width
                ),
            }
            writer.write_table(arrow.table([table[name] for name in schema.names], schema=schema))


def _names(images: Images, skipped: set[int]) -> Iterator[tuple[str, str]]:
    for index, key in enumerate(images.source.each_key()):
        if index not in skipped:
            yield _text(key), _text(images.class_name(index))


def _text(name: str) -> str:
    r"""A name that is not UTF-8, as on some disks, with `\udc80` for such a byte: parquet has UTF-8 alone."""
    return name.encode(errors="backslashreplace").decode()


def _pyarrow(module: str = "") -> Any:
    try:
        return importlib.import_module(f"pyarrow.{module}" if module else "pyarrow")
    except ImportError as error:
        raise MissingExtraError(f"parquet files need pyarrow: {installing('parquet')}") from error
