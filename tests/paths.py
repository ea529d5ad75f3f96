"""Where things lie, from wherever a test lies."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "partialfc"
FIXTURES = ROOT / "tests" / "fixtures"
HUGGING_FACE = FIXTURES / "hugging_face"  # folders that their library wrote
MXNET = FIXTURES / "mxnet_rec"  # files that MXNet itself wrote
