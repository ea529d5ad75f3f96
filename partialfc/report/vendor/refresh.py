"""Fetches the vendored files with npm and checks what came: make vendor.

    python -m partialfc.report.vendor.refresh           # the version of the lock, whose checksum it must have
    python -m partialfc.report.vendor.refresh 1.6.32    # another version, which is written into the lock

npm takes the package from the registry that it is set up for.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from partialfc.report.vendor import UPLOT

LOCK = "lock.json"


def integrity(content: bytes) -> str:
    """The content's checksum in the form of npm: sha512-BASE64."""
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def refresh(folder: Path, version: str | None = None) -> str:
    """Write a project's files anew from npm, and say what was done.

    folder: with `lock.json`, {"package", "version", "integrity": of npm's archive, "files": {name in the
        folder: {"path" in the archive, "integrity"}}}.
    version: None: the lock's, and the archive must have the lock's checksum.

    Raises SystemExit with the reason where npm is absent or fails, or where the archive is another one; then
    no file was touched.
    """
    lock = json.loads((folder / LOCK).read_text())
    wanted = version or lock["version"]
    archive, files = _fetched(f"{lock['package']}@{wanted}", lock["files"])
    if version is None and archive != lock["integrity"]:
        raise SystemExit(
            f"{lock['package']} {wanted} is not what was vendored: its checksum is {archive}, "
            f"that of {folder / LOCK} is {lock['integrity']}; nothing was changed"
        )
    for name, content in files.items():
        (folder / name).write_bytes(content)
        lock["files"][name]["integrity"] = integrity(content)
    lock.update(version=wanted, integrity=archive)
    (folder / LOCK).write_text(json.dumps(lock, indent=2) + "\n")
    return f"{lock['package']} {wanted} is in {folder}: {', '.join(files)}"


def _fetched(package: str, files: Mapping[str, Mapping[str, str]]) -> tuple[str, dict[str, bytes]]:
    """The archive's checksum, and the content of each of `files`."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is not on PATH: install Node.js (apt-get install npm)")
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", package, "--ignore-scripts", "--pack-destination", scratch]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scratch)
        if done.returncode:
            raise SystemExit(f"npm cannot fetch {package}:\n{done.stderr.strip()}")
        (path,) = Path(scratch).glob("*.tgz")
        with tarfile.open(path) as archive:
            found = {name: archive.extractfile(f"package/{file['path']}") for name, file in files.items()}
            contents = {name: file.read() for name, file in found.items() if file is not None}
        return integrity(path.read_bytes()), contents


if __name__ == "__main__":
    print(refresh(UPLOT, *sys.argv[1:2]))
