"""Files that readers never see half written."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write and rename, so that a reader sees the old content or the new."""
    beside = path.with_name(path.name + ".new")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
