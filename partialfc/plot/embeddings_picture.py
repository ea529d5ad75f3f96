"""The picture of a small experiment: what losses make of 8 classes, side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.nn.functional import normalize

from partialfc.plot.experiment import Embedded
from partialfc.report.figure import empty_figure, save_picture

BARS = 180  # of 2 degrees around the circle
TALLEST = 0.6  # the height of the tallest bar, where the circle's radius is 1
COLUMNS_OF_SPHERES = 4
Numbers = npt.NDArray[np.float64]


def draw_embeddings(found: Mapping[str, Embedded], output: Path) -> Path:
    """Write the PNG `output`, which is returned: on the plane and the circle, or on the sphere.

    As Deng et al. 2019 (arXiv:1801.07698), figure 3, and Liu et al. 2017 (arXiv:1704.08063), figure 2. Raises
    ConfigError where it cannot be written, MissingExtraError without matplotlib.
    """
    dimensions = {each.embeddings.shape[1] for each in found.values()}
    return save_picture(_flat(found) if dimensions == {2} else _spheres(found), output)


def _flat(found: Mapping[str, Embedded]) -> Any:
    """Above the embeddings as they are, below their directions."""
    figure = empty_figure(width=2.6 * len(found), height=5.8)
    grid = figure.subplots(2, len(found), squeeze=False)
    bars = {name: directions(each) for name, each in found.items()}
    tallest = max(heights.max() for heights in bars.values())
    for (above, below), (name, each) in zip(grid.T, found.items(), strict=True):
        _draw_plane(above, each)
        _draw_circle(below, each, TALLEST / tallest * bars[name])
        above.set_title(name, fontsize="medium")
        below.set_title(_figures(each), fontsize="small")
    grid[0, 0].set_ylabel("embeddings, centres' directions")
    grid[1, 0].set_ylabel("share of images by direction")
    return figure


def _draw_plane(axes: Any, each: Embedded) -> None:
    points = each.embeddings.numpy()
    largest = float(np.quantile(np.abs(points), 0.999)) * 1.05
    for label, (x, y) in enumerate(normalize(each.centres).numpy()):
        own = points[each.labels.numpy() == label]
        axes.plot([0, 2 * largest * x], [0, 2 * largest * y], color=f"C{label}", linewidth=0.8)
        axes.plot(own[:, 0], own[:, 1], ".", color=f"C{label}", markersize=2)
    axes.set(xlim=(-largest, largest), ylim=(-largest, largest), xticks=(), yticks=())
    axes.set_aspect("equal")


def _draw_circle(axes: Any, each: Embedded, heights: Numbers) -> None:
    """A bar outside the circle for each part of it, as high as many embeddings of a class point there.

    heights [8, BARS]: of the bars of each class.
    """
    around = np.linspace(0, 2 * np.pi, 361)
    axes.plot(np.cos(around), np.sin(around), color="0.8", linewidth=0.8)
    for label, (x, y) in enumerate(normalize(each.centres).numpy()):
        axes.plot([0, x], [0, y], color=f"C{label}", linewidth=1.5)
        for part in np.flatnonzero(heights[label]):
            sector = np.linspace(part, part + 1, 3) * 2 * np.pi / BARS - np.pi
            radii = np.repeat([1.0, 1.0 + heights[label, part]], len(sector))
            corners = np.concatenate([sector, sector[::-1]])
            axes.fill(
                radii * np.cos(corners), radii * np.sin(corners), color=f"C{label}", alpha=0.8, linewidth=0
            )
    limit = 1.05 + TALLEST
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    axes.set_aspect("equal")
    axes.set_axis_off()


def directions(each: Embedded) -> Numbers:
    """The share of each class's embeddings that point to each part of the circle [8, BARS], from -180°."""
    angles = np.arctan2(each.embeddings[:, 1].numpy(), each.embeddings[:, 0].numpy())
    labels = each.labels.numpy()
    counts = [np.histogram(angles[labels == c], BARS, (-np.pi, np.pi))[0] for c in range(len(each.centres))]
    return np.array([count / max(count.sum(), 1) for count in counts])


def _spheres(found: Mapping[str, Embedded]) -> Any:
    columns = min(COLUMNS_OF_SPHERES, len(found))
    rows = -(-len(found) // columns)
    figure = empty_figure(width=3.6 * columns, height=4.3 * rows)
    for number, (name, each) in enumerate(found.items()):
        axes = figure.add_subplot(rows, columns, number + 1, projection="3d")
        _draw_sphere(axes, each)
        words = name.replace("\n", " ")
        axes.set_title(f"{words}\n{_figures(each)}", fontsize="medium")
    return figure


def _draw_sphere(axes: Any, each: Embedded) -> None:
    around, height = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    x, y, z = np.sin(height) * np.cos(around), np.sin(height) * np.sin(around), np.cos(height)
    axes.plot_wireframe(x, y, z, color="0.85", linewidth=0.4)
    points = normalize(each.embeddings).numpy()
    for label, centre in enumerate(normalize(each.centres).numpy()):
        own = points[each.labels.numpy() == label]
        axes.plot(*own.T, ".", color=f"C{label}", markersize=2)
        axes.plot(*np.stack([0 * centre, 1.15 * centre]).T, color=f"C{label}", linewidth=1.2)
    axes.set_box_aspect((1, 1, 1), zoom=1.4)
    axes.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-1, 1))
    axes.set_axis_off()


def _figures(each: Embedded) -> str:
    return f"accuracy {each.accuracy:.1%}\nmean angle {each.degrees:.1f}\N{DEGREE SIGN}"
