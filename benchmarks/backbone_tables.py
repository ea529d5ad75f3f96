"""The tables of docs/reference/backbones.md: what each backbone is, and its figures from backbones.csv.

`python benchmarks/backbone_tables.py` writes them into the page, each between its two markers.
"""

import inspect
from functools import partial
from pathlib import Path

from backbones import PRECISIONS
from marked import filled
from table import read

from partialfc.backbones import BACKBONES

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "backbones.csv"
PAGE = ROOT / "docs" / "reference" / "backbones.md"
IRESNET = "Deng et al. 2019 (arXiv:1801.07698), section 3.1"
VIT = "Dosovitskiy et al. 2021 (arXiv:2010.11929), Touvron et al. 2021 (arXiv:2012.12877)"
SOURCES = {
    **dict.fromkeys([name for name in BACKBONES if name.startswith("iresnet")], IRESNET),
    "mobilefacenet": "Chen et al. 2018 (arXiv:1804.07573)",
    "vargfacenet": "Yan et al. 2019 (arXiv:1910.04985)",
    **dict.fromkeys([name for name in BACKBONES if name.startswith("vit_")], VIT),
    "convnet": "for small images, and for CPUs",
}


def costs() -> str:
    lines = [
        "| `backbone.name` | from | file | parameters | FLOPs | activations | with checkpointing |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    rows = {row["backbone"]: row for row in read(FIGURES)}
    for name in BACKBONES:
        row = rows[name]
        cells = [f"`{name}`", SOURCES[name], f"`{file_of(name)}`"]
        cells += [f"{int(row['parameters']) / 1e6:.2f} M", f"{int(row['flops']) / 1e9:.2f} G"]
        cells += [f"{int(row[key]) / 2**20:.1f} MiB" for key in ("kept_bytes", "kept_bytes_checkpointing")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def speed() -> str:
    """Images a second of CPU time: trained and embedded, in each precision."""
    titles = [f"{what}, {precision}" for what in ("trained", "embedded") for precision in PRECISIONS]
    lines = [f"| | {' | '.join(titles)} |", f"|---|{'--:|' * len(titles)}"]
    rows = {(row["backbone"], row["precision"]): row for row in read(FIGURES)}
    for name in BACKBONES:
        found = [rows.get((name, precision)) for precision in PRECISIONS]
        cells = [
            "not measured" if row is None else f"{float(row[key]):.3g}"
            for key in ("train_images_per_s", "infer_images_per_s")
            for row in found
        ]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    machines, versions = ({row[key] for row in rows.values()} for key in ("machine", "torch"))
    told = f"One thread of {', '.join(sorted(machines))}; torch {', '.join(sorted(versions))}."
    return "\n".join([*lines, "", told])


def file_of(name: str) -> str:
    build = BACKBONES[name]
    kind = build.func if isinstance(build, partial) else build
    return str(Path(inspect.getfile(kind)).relative_to(ROOT))


TABLES = {"backbone_costs": costs, "backbone_speed": speed}


def written(text: str) -> str:
    """The text of the page with its tables as they are now."""
    return filled(text, TABLES)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
