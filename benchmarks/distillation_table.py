"""The table of docs/how-to/distill.md: what a teacher gives each student, from distillation.csv.

`python benchmarks/distillation_table.py` writes it into the page, between its two markers.
"""

from pathlib import Path

from loss_tables import cells
from margin_table import summaries
from marked import filled
from table import read

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "distillation.csv"
PAGE = ROOT / "docs" / "how-to" / "distill.md"


def figures() -> str:
    """A line for the teacher and each student, and what all runs have in common."""
    rows = read(FIGURES)
    lines = [
        "| network | loss | parameters | steps | compared with | pair accuracy, % | TAR at FAR 1e-3, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in summaries(rows):
        row = next(row for row in rows if row["loss"] == each.loss)
        against = "" if each.against == each.loss else each.against
        about = [each.loss, each.settings.partition(": ")[2], f"{int(row['parameters']):,}", row["steps"]]
        lines.append(f"| {' | '.join([*about, against, *cells(each)])} |")
    row = rows[0]
    seeds, machines = (sorted({row[key] for row in rows}) for key in ("seed", "machine"))
    common = (
        f"Seeds {', '.join(seeds)}, one teacher for all; 64 images a step, of {row['classes']} characters; "
        f"{int(row['genuine_pairs']):,} genuine and {int(row['impostor_pairs']):,} impostor pairs of "
        f"{row['unseen']} others; {', '.join(machines)}; torch {row['torch']}."
    )
    return "\n".join([*lines, "", common])


def written(text: str) -> str:
    """The page's text with the table of now."""
    return filled(text, {"distillation": figures})


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
