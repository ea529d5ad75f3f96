"""onnxruntime, which everything here imports by this file: it tells its makers nothing."""

import importlib
import os
from typing import Any

SILENT = "ORT_DISABLE_TELEMETRY"


def onnxruntime(part: str = "") -> Any:
    """The package, or a module in it such as "quantization". Raises ImportError where it is not installed.

    From 1.29 on, its official builds keep an identifier of the machine in the home, and send hashes of
    models, names of their files and how often they are run to Microsoft, unless ORT_DISABLE_TELEMETRY forbids
    it in the environment before the import (docs/Privacy.md of onnxruntime). So that is set here, where it is
    not.
    """
    os.environ.setdefault(SILENT, "1")
    return importlib.import_module(f"onnxruntime.{part}" if part else "onnxruntime")
