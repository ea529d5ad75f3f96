"""onnxruntime, which everything here imports by this file: it tells its makers nothing."""

import importlib
import os
from typing import Any

SILENT = "ORT_DISABLE_TELEMETRY"
CPU = "CPUExecutionProvider"
ERRORS = 3  # the level of messages: errors alone


def onnxruntime(part: str = "") -> Any:
    """The package, or a module in it such as "quantization". Raises ImportError where it is not installed.

    From 1.29 on, its official builds keep an identifier of the machine in the home, and send hashes of
    models, names of their files and how often they are run to Microsoft, unless ORT_DISABLE_TELEMETRY forbids
    it in the environment before the import (docs/Privacy.md of onnxruntime). So that is set here, where it is
    not.
    """
    os.environ.setdefault(SILENT, "1")
    return importlib.import_module(f"onnxruntime.{part}" if part else "onnxruntime")


def session(model: str | bytes, *, threads: int | None, provider: str = CPU) -> Any:
    """The graph of a file, or of an .onnx's bytes, ready to be run; threads: of one call, None: one a core.

    Raises ImportError where onnxruntime is not installed, and errors of its own for what it cannot run.
    """
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = ERRORS
    options.intra_op_num_threads = threads or 0
    return runtime.InferenceSession(model, options, providers=[provider])
