"""The script and the style that draw a report's charts; they stand in the page itself."""

from pathlib import Path

from partialfc.report.vendor import uplot_script, uplot_style

_HERE = Path(__file__).parent


def scripts() -> list[str]:
    """uPlot, and what draws the page's charts with it."""
    return [uplot_script(), (_HERE / "charts.js").read_text(encoding="utf-8")]


def style() -> str:
    """Rules for the charts, after those of every page."""
    return uplot_style() + (_HERE / "charts.css").read_text(encoding="utf-8")
