"""The rows of gpu.py as one table for each card."""

import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fused
import peer
import table
import torch

PASSED, FAILED, CUT_SHORT, LEFT_OUT = "passed", "failed", "cut short", "left out"
SIZE = ("classes", "sample_rate", "batch", "compute")
ABOUT = ("card", "driver", "cuda", "nccl", "triton", "torch", "python", "partialfc", "commit")


def about(device: str) -> table.Row:
    """The card and the versions, which every row has."""
    found = {"card": f"no GPU, {table.machine()}", "driver": "", "cuda": "", "nccl": ""}
    if device != "cpu":
        found = {
            "card": torch.cuda.get_device_name(),
            "driver": driver(),
            "cuda": torch.version.cuda or torch.version.hip or "",
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        }
    try:
        found["triton"] = version("triton")
    except PackageNotFoundError:
        found["triton"] = ""
    common = table.surroundings()
    found |= {"torch": common["torch"], "python": platform.python_version()}
    return found | {name: common[name] for name in ("partialfc", "commit")}


def driver() -> str:
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return lines[0] if lines else ""


def figures(row: Mapping[str, str]) -> table.Row:
    """A row of head.csv as one of gpu.csv; of the CPU's few classes no time, which would say nothing."""
    kept: table.Row = {"system": row["system"]} | {name: row[name] for name in SIZE}
    if row.get("failed"):
        return kept | {"detail": row["failed"]}
    if row["device"] == "cpu":
        return kept | {"result": PASSED}
    kept |= {name.replace("_s", "_ms"): in_ms(row[name]) for name in ("median_s", "p20_s", "p80_s")}
    kept |= {name: row.get(name, "") for name in ("extra_memory_mb", "over_floor", "first_step_s")}
    return kept | {"compiled": row.get("compiled", "")}


def in_ms(seconds: str) -> float:
    return table.rounded(1000 * float(seconds))


def not_compared(at: Path | None) -> list[table.Row]:
    """Who is missing beside the head, and why."""
    reasons = fused.missing()
    if at is None:
        reasons.insert(0, f"{peer.NAME}: give its folder, ARCFACE_TORCH=PATH or --peer PATH")
    return [{"part": "beside the head", "result": LEFT_OUT, "detail": reason} for reason in reasons]


def line(row: table.Row) -> str:
    """A part's row on the screen."""
    seconds = f" in {row['seconds']} s" if "seconds" in row else ""
    return f"{row['part']}: {said(row)}{seconds}"


def said(row: Mapping[str, Any]) -> str:
    """The result in words."""
    counts = ", ".join(f"{row[name]} {name}" for name in ("passed", "failed", "skipped") if row.get(name))
    return ": ".join(str(each) for each in (row.get("result"), counts, row.get("detail")) if each)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A heading, the versions and the table of one card."""
    first = rows[0]
    named = [f"{name} {first[name]}" for name in ABOUT[1:] if first.get(name)]
    lines = [f"## {first['card']}", "", ", ".join(named), ""]
    lines += ["| | result | ms a step | MB beyond the rows | times the floor |", "|---|---|---|---|---|"]
    for row in rows:
        lines.append(f"| {' | '.join(cells(row))} |")
    return "\n".join(lines)


def cells(row: Mapping[str, Any]) -> list[str]:
    if not row.get("system"):
        return [row["part"], said(row).replace("|", "\\|"), "", "", ""]
    size = f"{int(row['classes']):,} classes, rate {row['sample_rate']}, batch {row['batch']}"
    compiled = {"True": ", compiled", "False": ", uncompiled"}.get(str(row.get("compiled")), "")
    name = f"{row['system']}, {row['compute']}{compiled}: {size}"
    if row.get("detail"):
        return [name, f"failed: {row['detail']}".replace("|", "\\|"), "", "", ""]
    shown = ("result", "median_ms", "extra_memory_mb", "over_floor")
    return [name, *(str(row.get(column, "")) for column in shown)]


def check(path: Path) -> None:
    """An OSError where `write` could not write there, a ValueError where it holds something else."""
    for each in (path, path.with_suffix(".md")):
        there = each.exists()
        with each.open("a"):
            pass
        if not there:
            each.unlink()
    if path.exists() and any("card" not in row for row in table.read(path)):
        raise ValueError(f"{path} is not a table of this program: give another --output")


def write(path: Path, rows: Sequence[table.Row]) -> None:
    """Into the CSV file in place of the card's rows there, and all its cards into the .md beside it."""
    card = rows[0]["card"]
    before = table.read(path) if path.exists() else []
    others = [row for row in before if row["card"] != card]
    every: list[Mapping[str, Any]] = [*others, *rows]
    columns = [*dict.fromkeys(name for row in every for name in row if name not in ABOUT), *ABOUT]
    table.write_columns(path, every, columns)
    cards = dict.fromkeys(str(row["card"]) for row in every)
    texts = [markdown([row for row in every if row["card"] == card]) for card in cards]
    intro = "# What ran on which card\n\nWritten by `make gpu`; the rows are those of `gpu.csv`."
    path.with_suffix(".md").write_text("\n\n".join([intro, *texts]) + "\n")
