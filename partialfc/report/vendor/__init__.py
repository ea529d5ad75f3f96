"""Files of other projects that pages carry, as they were published, each with its licence and a lock.

`make vendor` fetches them anew; nothing else writes them. May import nothing.
"""

from pathlib import Path

UPLOT = Path(__file__).parent / "uplot"


def uplot_script() -> str:
    """uPlot, which draws curves on a canvas: a script that defines `uPlot`, for a page to carry."""
    return (UPLOT / "uPlot.iife.min.js").read_text(encoding="utf-8")


def uplot_style() -> str:
    """The style sheet that uPlot's curves need."""
    return (UPLOT / "uPlot.min.css").read_text(encoding="utf-8")
