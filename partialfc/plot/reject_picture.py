"""The picture of error-versus-reject curves."""

from collections.abc import Mapping
from pathlib import Path

from partialfc.evaluation.reject import RejectCurve
from partialfc.report.figure import new_figure, save_picture


def draw_reject(curves: Mapping[str, RejectCurve], output: Path, *, fmr: float, up_to: float) -> Path:
    """Write the PNG `output`, which is returned: a line for each curve, with its area up to that share.

    Raises ConfigError where the picture cannot be written, MissingExtraError without matplotlib.
    """
    figure, axes = new_figure(1, width=7, height=4.5)
    for name, curve in curves.items():
        style = {"linestyle": ":", "color": "0.5"} if name.endswith("random") else {}
        label = f"{name}, area {curve.area(up_to):.4f}".replace("$", r"\$")
        inside = curve.rejected <= up_to
        axes.plot(100 * curve.rejected[inside], 100 * curve.error[inside], label=label, **style)
    axes.set_xlabel("genuine pairs rejected, the worst first, %")
    axes.set_ylabel(f"false non-match rate at FMR {fmr:g}, %")
    axes.set_xlim(0, 100 * up_to)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return save_picture(figure, output)
