"""Which of NVIDIA's packages of DALI suits this torch: each is built for one major version of CUDA.

They install the same module, so that two of them overwrite each other's files.
"""

from importlib.metadata import PackageNotFoundError, version

import torch

PACKAGES = {12: "nvidia-dali-cuda120", 13: "nvidia-dali-cuda130"}  # by CUDA's major version


def suitable_cuda(built_for: str | None = torch.version.cuda) -> int:
    """The key of PACKAGES for a torch that is built for that CUDA, such as "13.0"; None: for none."""
    major = 12 if built_for is None else int(built_for.split(".")[0])
    return min(max(major, min(PACKAGES)), max(PACKAGES))


def extra(built_for: str | None = torch.version.cuda) -> str:
    """The extra of this package that installs the one for it."""
    return f"dali-cuda{suitable_cuda(built_for)}"


def installed() -> dict[str, str]:
    """The versions of those packages of DALI that are installed, by their names."""
    found = {}
    for package in PACKAGES.values():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
