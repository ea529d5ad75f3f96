"""train.deterministic: the same bits from the same run, on a GPU too."""

import os

import torch

from partialfc.errors import ConfigError

VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
WORKSPACES = (":4096:8", ":16:8")  # with which cuBLAS adds in the same order each time, as torch demands


def set_determinism(wanted: bool) -> None:
    """Let torch use deterministic algorithms only, or any; before this process uses CUDA.

    cuBLAS reads its variable when it starts, so it is set here, unless it is one of `WORKSPACES` already.
    Raises ConfigError where it is another, or where it is too late to set it.
    """
    if wanted:
        _choose_workspace()
    torch.use_deterministic_algorithms(wanted)


def _choose_workspace() -> None:
    value = os.environ.get(VARIABLE)
    rule = f"train.deterministic is true, and {VARIABLE} is {'not set' if value is None else repr(value)}"
    if value is not None and value not in WORKSPACES:
        raise ConfigError(f"{rule}; it must be {' or '.join(WORKSPACES)}, or not set")
    if value is None and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise ConfigError(
            f"{rule}; this process uses CUDA already, so set it to {WORKSPACES[0]} before the process starts"
        )
    os.environ.setdefault(VARIABLE, WORKSPACES[0])
