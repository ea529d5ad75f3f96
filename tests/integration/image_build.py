"""Builds the image with buildah: no daemon, no registry, a store of its own."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.paths import ROOT

BASE = re.search(r"^ARG BASE=(.+)$", (ROOT / "docker" / "Dockerfile").read_text(), re.M).group(1)
SUITE = BASE.rsplit("-", 1)[1]  # Debian's release
# What of Debian makes up for the base image, which holds a Python with its headers.
PACKAGES = "python3,python3-venv,python3-dev,ca-certificates"
IMAGE = "partialfc"
SERVE_IMAGE = "partialfc-serve"


def missing() -> str | None:
    """Why the image cannot be built here, or None."""
    if os.geteuid() != 0:
        return "needs root: debootstrap and chroot"
    tools = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if tools:
        return f"needs the Debian packages {' '.join(tools)}"
    if not BASE.startswith(f"python:{sys.version_info[0]}.{sys.version_info[1]}-"):
        return f"the wheels are downloaded for this Python, but the image's base is {BASE}"
    return None


class Buildah:
    """`buildah(...)` runs a command of it to the end and returns its output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(folder)}

    def command(self, *arguments: object) -> list[str]:
        store = ["--storage-driver", "vfs", "--root", self.folder / "store", "--runroot", self.folder / "run"]
        return ["buildah", *map(str, store), *map(str, arguments)]

    def __call__(self, *arguments: object) -> str:
        done = subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, f"{done.args}:\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()


def make_base(buildah: Buildah) -> None:
    """An image of Debian under the name of the Dockerfiles' base, unless it is there."""
    if buildah("images", "--quiet", "--filter", f"reference=localhost/{BASE}"):
        return
    container = buildah("from", "scratch")
    mount = buildah("mount", container)
    subprocess.run(
        # It mounts /proc and /sys in there; these must not outlive it, however it ends.
        ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, mount],
        check=True,
    )
    buildah("umount", container)
    buildah("config", "--env", "LANG=C.UTF-8", container)
    buildah("commit", "--quiet", "--rm", container, f"localhost/{BASE}")


def download_wheels(folder: Path, torch: str | None, *extras: str) -> None:
    """What the image's pip is to install, fetched by this machine's pip as it is configured."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, optional = content["project"], content["project"]["optional-dependencies"]
    needed = [each for each in project["dependencies"] if torch or not each.startswith("torch")]
    needed += [each for extra in extras for each in optional[extra]] + ([torch] if torch else [])
    needed += content["build-system"]["requires"]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--only-binary=:all:",
            "--dest",
            folder,
            *needed,
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )


def build(buildah: Buildah) -> None:
    """The image of the trainer, of this machine's torch."""
    torch = f"torch=={importlib.metadata.version('torch')}"
    download_wheels(buildah.folder / "wheels", torch, "plot", "glyphs")
    _build(buildah, IMAGE, "docker/Dockerfile", "--build-arg", f"TORCH={torch}")


def build_serve(buildah: Buildah) -> None:
    """The image of the service."""
    download_wheels(buildah.folder / "wheels", None, "serve")
    _build(buildah, SERVE_IMAGE, "docker/serve/Dockerfile")


def _build(buildah: Buildah, image: str, file: str, *options: str) -> None:
    pip = buildah.folder / "pip.conf"
    pip.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    make_base(buildah)
    buildah(
        # Docker's format: OCI's has no place for a healthcheck.
        *("bud", "--pull-never", "--format", "docker", "--tag", image, "--file", file, *options),
        *("--volume", f"{buildah.folder / 'wheels'}:/wheels:ro", "--volume", f"{pip}:/etc/pip.conf:ro", "."),
    )
