"""Whether a Python is one for `make gpu`: prints its version, such as 3.12, or says in a line what it lacks.

    python3 benchmarks/gpu_python.py python3

The argument is what it was given as. This file is also read by a Python too old for all the others.
"""

import os
import re
import sys
import warnings

given = "GPU_PYTHON=" + sys.argv[1]
hint = "give the Python that has it, as in make gpu GPU_PYTHON=/opt/venv/bin/python"
root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(os.path.join(root, "pyproject.toml")) as file:
    project = file.read()
oldest = [re.findall(name + r">=(\d+)\.(\d+)", project)[0] for name in ('requires-python = "', '"torch')]
python, torch_release = [(int(major), int(minor)) for major, minor in oldest]


def lacks(what, least):  # type: ignore[no-untyped-def]
    sys.exit(given + " " + what + ": " + ".".join(map(str, least)) + " or newer is needed; " + hint)


own = ".".join(map(str, sys.version_info[:2]))
if sys.version_info[:2] < python:
    lacks("is Python " + own, python)
warnings.simplefilter("ignore")  # such as of a torch without NumPy
try:
    import torch
except ImportError as error:
    if getattr(error, "name", None) == "torch":
        sys.exit(given + " has no torch; " + hint)
    sys.exit(given + " cannot import torch: " + str(error).splitlines()[0] + "; " + hint)
found = re.findall(r"^(\d+)\.(\d+)", torch.__version__)
if found and (int(found[0][0]), int(found[0][1])) < torch_release:
    lacks("has torch " + torch.__version__, torch_release)
print(own)
