"""Train as one rank of several, then print the names of the threads that are left: CONFIG is the argument."""

import sys
from pathlib import Path

from partialfc.config import load_config
from partialfc.training.run import train

train(load_config(Path(sys.argv[1])))
print(*((task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()))
