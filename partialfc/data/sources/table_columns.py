"""Which columns of a table hold images and labels: by Hugging Face's metadata, or by name and type."""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from partialfc.errors import DataError, MissingExtraError, installing

IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp")  # where several columns may hold images: the first
LABELS = ("label", "labels", "cls", "class")  # likewise


@dataclass(frozen=True, slots=True)
class Columns:
    """image: the path of the column of encoded images, such as `image.bytes`. names: the classes' by id."""

    image: str
    label: str
    names: tuple[str, ...] | None


def arrow(module: str = "") -> Any:
    """pyarrow, or a module of it; MissingExtraError where it is not installed."""
    try:
        return importlib.import_module(f"pyarrow.{module}" if module else "pyarrow")
    except ImportError as error:
        raise MissingExtraError(
            f"parquet files and Hugging Face folders need pyarrow: {installing('parquet')}"
        ) from error


def columns_of(name: str, schema: Any) -> Columns:
    """Of a pyarrow.Schema; DataError, with the file's name, where it is not clear which columns are meant."""
    features = _features(schema)
    types = arrow("types")
    by_type = [
        field.name
        for field in schema
        if types.is_binary(field.type) or types.is_large_binary(field.type) or _holds_bytes(field.type)
    ]
    images = [column for column, feature in features.items() if _kind(feature) == "Image"] or by_type
    labels = [column for column, feature in features.items() if _kind(feature) == "ClassLabel"]
    labels = labels or [field.name for field in schema if field.name in LABELS and _may_be_label(field.type)]
    image = _chosen(name, "images", images, IMAGES, schema.names)
    label = _chosen(name, "labels", labels, LABELS, schema.names)
    inner = ".bytes" if types.is_struct(schema.field(image).type) else ""
    names = features.get(label, {}).get("names")
    return Columns(f"{image}{inner}", label, None if names is None else tuple(map(str, names)))


def _features(schema: Any) -> Mapping[str, Any]:
    """What the `datasets` library says of each column; {} where the file is not its own."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _kind(feature: Any) -> str:
    return str(feature.get("_type")) if isinstance(feature, dict) else ""


def _holds_bytes(kind: Any) -> bool:
    types = arrow("types")
    if not types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    inner = kind.field("bytes").type
    return bool(types.is_binary(inner) or types.is_large_binary(inner))


def _may_be_label(kind: Any) -> bool:
    types = arrow("types")
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))


def _chosen(
    name: str, what: str, found: Sequence[str], preferred: Sequence[str], all_names: Sequence[str]
) -> str:
    if len(found) == 1:
        return found[0]
    if meant := [column for column in preferred if column in found]:
        return meant[0]
    which = f"any of {', '.join(found)} may be it" if found else f"it has the columns {', '.join(all_names)}"
    raise DataError(
        f"{name}: it is not clear which column holds the {what}: {which}; call it {preferred[0]!r}, such as "
        f"by datasets' rename_column"
    )
