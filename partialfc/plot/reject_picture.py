"""The picture of error-versus-reject curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from partialfc.evaluation.reject import RejectCurve
from partialfc.report.figure import new_figure, save_picture

RANDOM = "random"  # the quality that knows nothing of an image


def line_styles(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """How the curves named "RUN: quality" are drawn: a random quality dotted, in its run's colour."""
    styles: dict[str, dict[str, str]] = {}
    of_run: dict[str, str] = {}
    for name in names:
        run, _, quality = name.rpartition(": ")
        if quality == RANDOM:
            styles[name] = {"linestyle": ":", "color": of_run.get(run, "0.5") if run else "0.5"}
        else:
            of_run[run] = f"C{len(styles)}"
            styles[name] = {"color": of_run[run]}
    return styles


def draw_reject(curves: Mapping[str, RejectCurve], output: Path, *, fmr: float, up_to: float) -> Path:
    """Write the PNG `output`, which is returned: a line for each curve, with its area up to that share.

    Raises ConfigError where the picture cannot be written, MissingExtraError without matplotlib.
    """
    figure, axes = new_figure(1, width=7, height=4.5)
    styles = line_styles(list(curves))
    for name, curve in curves.items():
        label = f"{name}, area {curve.area(up_to):.4f}".replace("$", r"\$")
        inside = curve.rejected <= up_to
        axes.plot(100 * curve.rejected[inside], 100 * curve.error[inside], label=label, **styles[name])
    axes.set_xlabel("genuine pairs rejected, the worst first, %")
    axes.set_ylabel(f"false non-match rate at FMR {fmr:g}, %")
    axes.set_xlim(0, 100 * up_to)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return save_picture(figure, output)
