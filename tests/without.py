"""`python -m tests.without A,B COMMAND`: the command where the packages A and B cannot be imported."""

import runpy
import sys

names = sys.argv.pop(1).split(",")
early = [name for name in names if name in sys.modules]
assert not early, f"imported before any command asks for them: {early}"
sys.modules.update(dict.fromkeys(names))
runpy.run_module("partialfc", run_name="__main__", alter_sys=True)
