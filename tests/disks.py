"""Small disks, full ones and ones that take nothing: real file systems, which only root may mount."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, size: str = "1m") -> Iterator[Path]:
    """A file system of that size at `folder`, until the end of the block."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("needs the right to mount a small file system (root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, *, leave: int = 0) -> None:
    """Leave only so many bytes of a small disk free."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))


def as_plain_user(words: Sequence[object]) -> list[object]:
    """A command that starts the program so that the permissions of files hold, for root too."""
    if os.geteuid() != 0:
        return [*words]
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux) where root runs the tests")
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", "--", *words]


def protect(disk: Path) -> None:
    """Let nobody write to a small disk any more, not even root."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
