"""The README's picture of benchmarks/scale.csv: `python benchmarks/plot.py` writes docs/head.png."""

import argparse
from pathlib import Path

import matplotlib
import table

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).parent
OURS = "partialfc"
Rows = list[dict[str, str]]


def curves(rows: Rows) -> dict[str, tuple[Rows, str, str]]:
    """By label: the rows, the colour and the line's style."""
    ours = [row for row in rows if row["system"] == OURS]
    small = [row for row in ours if row["storage"] == "bfloat16"]
    whole = [row for row in ours if row["storage"] == "float32"]
    others = dict.fromkeys(row["system"] for row in rows if row["system"] != OURS)
    colours = ("tab:red", "tab:orange")
    return {
        **{
            name: ([row for row in rows if row["system"] == name], colour, "-")
            for name, colour in zip(others, colours, strict=False)
        },
        "partialfc, float32": (whole, "tab:blue", "--"),
        f"partialfc, bfloat16 centres, {small[0]['momentum']} momentum": (small, "tab:blue", "-"),
    }


def draw(axes: Axes, rows: Rows, column: str, title: str) -> None:
    for label, (of_curve, colour, style) in curves(rows).items():
        points = sorted((int(row["classes"]) / 1e6, float(row[column])) for row in of_curve)
        axes.plot(*zip(*points, strict=True), style, marker="o", color=colour, label=label)
    axes.set_xscale("log")
    ticks = sorted({int(row["classes"]) / 1e6 for row in rows})
    axes.set_xticks(ticks, [f"{tick:g}M" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("classes")
    axes.set_title(title)
    axes.grid(alpha=0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, default=HERE / "scale.csv")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "head.png")
    options = parser.parse_args()
    rows = table.read(options.input)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    draw(left, rows, "median_s", f"seconds a step, {int(rows[0]['rows']):,} centres each")
    draw(right, rows, "peak_gb", "peak memory, GB")
    machine = float(rows[0]["machine_gb"])
    right.axhline(machine, color="black", linewidth=1, linestyle=":")
    right.set_ylim(top=1.12 * machine)
    right.annotate("the machine's memory", (0.02, machine), xycoords=("axes fraction", "data"), va="bottom")
    left.legend(loc="center left", frameon=False)
    figure.savefig(options.output, dpi=120)


if __name__ == "__main__":
    main()
