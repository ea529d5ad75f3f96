"""Sphinx's settings for this site: `make docs` builds it into build/docs, with every warning an error."""

import sys
from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx

import partialfc

sys.path.insert(0, str(Path(__file__).parent))  # for generated.py, which is imported when a page asks for it

project = "partialfc"
version = release = partialfc.__version__
copyright = "the partialfc authors, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"partialfc {partialfc.__version__}"
html_copy_source = False
html_show_sphinx = False
smartquotes = False  # quotes and dashes as they are typed, also where they are code

myst_heading_anchors = 4  # as GitHub makes them, so that a link works on both

# In docstrings, what stands between single backticks is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_ivar = True  # attributes as a list, like arguments
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!partialfc\.).*")]  # other projects' names have no page here


def fill(app: Sphinx, name: str, source: list[str]) -> None:
    """Put what is generated in place of the line that asks for it, before the page is read."""
    source[0] = import_module("generated").filled(source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", fill)
