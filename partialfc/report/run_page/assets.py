"""The script and the style that draw a report's charts; they stand in the page itself."""

from pathlib import Path

from partialfc.report.vendor import uplot_script, uplot_style

_HERE = Path(__file__).parent
_PARTS = ("look", "lines", "legend", "controls", "reading", "draw")  # of one script; the last one begins


def scripts() -> list[str]:
    """uPlot, and what draws the page's charts with it."""
    parts = ((_HERE / "script" / f"{name}.js").read_text(encoding="utf-8") for name in _PARTS)
    return [uplot_script(), f'"use strict";\n(() => {{\n{"".join(parts)}}})();\n']


def style() -> str:
    """Rules for the charts, after those of every page."""
    return uplot_style() + (_HERE / "charts.css").read_text(encoding="utf-8")
