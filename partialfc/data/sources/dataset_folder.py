"""The files of a folder that Hugging Face's `datasets` library saved, or that the hub has."""

import json
import re
from pathlib import Path
from typing import Any

from partialfc.data.sources.leftovers import leftover_kind
from partialfc.errors import DataError

_SHARD = re.compile(r"(.+)-\d+-of-\d+(-[0-9a-f]+)?")  # train-00000-of-00002, on the hub with a hash behind


def table_files(folder: Path) -> list[str]:
    """The files of a `datasets` folder, saved by it or as on the hub; [] where it is none.

    Raises DataError where it holds several splits, such as train and test.
    """
    if (splits := _listed(folder / "dataset_dict.json", "splits")) is not None:
        shown = [str(folder / split) for split in splits]
        raise DataError(f"{folder}: holds the splits {', '.join(splits)}; name one: {' or '.join(shown)}")
    if (listed := _listed(folder / "state.json", "_data_files")) is not None:
        return [str(folder / file["filename"]) for file in listed]
    found = [
        file
        for pattern in ("*.parquet", "data/*.parquet")
        for file in sorted(folder.glob(pattern))
        if not leftover_kind(file.name)
    ]
    by_split: dict[str, list[Path]] = {}
    for file in found:
        shard = _SHARD.fullmatch(file.stem)
        by_split.setdefault("" if shard is None else shard[1], []).append(file)
    if len(by_split) > 1:
        shown = [str(files[0].with_name(f"{split}-*.parquet")) for split, files in by_split.items()]
        raise DataError(
            f"{folder}: holds several splits, {', '.join(filter(None, by_split))}; name the files of one, "
            f"such as {' or '.join(shown)}"
        )
    return [str(file) for file in found]


def _listed(path: Path, key: str) -> list[Any] | None:
    """A list in a JSON file of the `datasets` library; None without the file, or where it is another's."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if not any(path.parent.glob("**/*.arrow")):
            return None
        raise DataError(f"{path}: is damaged: {error}; copy it again") from error
    listed = found.get(key) if isinstance(found, dict) else None
    return listed if isinstance(listed, list) else None
