"""The picture of all margins: own logits, hard negatives, and the boundaries between two classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partialfc.plot.curves import MARGINS, Shown
from partialfc.report.figure import empty_figure, save_picture

DEGREES = np.linspace(0.0, 180.0, 361)
TARGET_AT = 60.0  # degrees, where negatives are drawn
NEAR = np.linspace(0.0, 90.0, 181)  # of the boundaries
COLUMNS = 7
DASHES = ("-", "--", ":")
REGIONS = ("C0", "0.75", "C1")  # class 1, nothing certain, class 2


def draw_margins(output: Path, shown: Sequence[Shown] = MARGINS) -> Path:
    """Write the PNG `output`, which is returned.

    As Deng et al. 2019 (arXiv:1801.07698) draw it, figure 4 (target logits) and figure 5 (boundaries). Raises
    ConfigError where it cannot be written, MissingExtraError without matplotlib.
    """
    figure = empty_figure(width=13.5, height=11.5)
    bounded = [each for each in shown if each.bounded]
    rows = -(-len(bounded) // COLUMNS)
    top, bottom = figure.subfigures(2, 1, height_ratios=(7, 2.7 * rows))
    left, right = top.subplots(1, 2, width_ratios=(3, 2))
    draw_targets(left, [each for each in shown if not each.reweights_negatives])
    draw_negatives(right, [each for each in shown if each.reweights_negatives])
    grid = bottom.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
    for axes, each in zip(grid.flat, bounded, strict=False):
        draw_boundary(axes, each)
    for axes in grid.flat[len(bounded) :]:
        axes.set_axis_off()
    bottom.suptitle(
        "Who wins between two classes, at these angles to their centres (grey: neither, the margin)"
    )
    bottom.supxlabel("degrees to the centre of class 1")
    bottom.supylabel("degrees to the centre of class 2")
    return save_picture(figure, output)


def draw_targets(axes: Any, shown: Sequence[Shown]) -> None:
    """A line for each: its own class's logit against the angle to the own centre."""
    for each, style in _styled(shown):
        axes.plot(DEGREES, each.target(DEGREES), label=each.name, **style)
    axes.set(
        title="Logit of the own class",
        xlabel="degrees between embedding and own centre",
        ylabel="logit / scale (or norm)",
        xlim=(0, 180),
        ylim=(-2.5, 1.05),
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize="small", ncols=3)


def draw_negatives(axes: Any, shown: Sequence[Shown]) -> None:
    """A line for each: another class's logit against the angle to its centre, the own one at TARGET_AT."""
    axes.plot(DEGREES, np.cos(np.deg2rad(DEGREES)), color="0.6", label="all others")
    for each, style in _styled(shown):
        logits = each.negative(DEGREES, target_degrees=np.array([TARGET_AT]))[:, 0]
        axes.plot(DEGREES, logits, label=each.name, **style)
    axes.axvline(TARGET_AT, color="0.6", linestyle=":")
    axes.set(
        title=f"Logit of another class, the own centre at {TARGET_AT:.0f} degrees",
        xlabel="degrees between embedding and that centre",
        xlim=(0, 180),
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def draw_boundary(axes: Any, each: Shown) -> None:
    """Where training lets class 1 win, where class 2, and what between them is nobody's."""
    axes.contourf(NEAR, NEAR, winner(each), levels=(-1.5, -0.5, 0.5, 1.5), colors=REGIONS[::-1])
    axes.plot(NEAR, NEAR, "--", color="black", linewidth=1)
    axes.set_title(f"{each.family}\n{each.at}", fontsize="small")
    axes.set_aspect("equal")
    axes.set(xticks=(0, 45, 90), yticks=(0, 45, 90))


def winner(each: Shown) -> Any:
    """By angle to class 2 (rows) and to class 1 (columns): 1 where class 1 wins, -1 where class 2, or 0."""
    first = each.excess(NEAR, NEAR) > 0
    return first.astype(int) - first.T.astype(int)


def _styled(shown: Sequence[Shown]) -> list[tuple[Shown, dict[str, Any]]]:
    """A colour for each family, and other dashes for each of its lines."""
    families = list(dict.fromkeys(each.family for each in shown))
    seen: dict[str, int] = {}
    styled = []
    for each in shown:
        number = seen[each.family] = seen.get(each.family, -1) + 1
        colour = f"C{families.index(each.family) % 10}"
        styled.append((each, {"color": colour, "linestyle": DASHES[number % len(DASHES)]}))
    return styled
