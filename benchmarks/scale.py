"""The head's step and memory as the classes grow, and ten million classes in one process.

    python benchmarks/scale.py --peer insightface/recognition/arcface_torch --output benchmarks/scale.csv

    growth  100k centres a step of 1M, 2M, 4M and 8M classes: ours with small storage (bfloat16 centres and
            GEMMs, --momentum), ours all in float32, and the other implementation, which has only float32
    ten     10M classes, 100k a step, small storage: building it, a step, the flush, a checkpoint saved and
            resumed

Sizes and method are those of head.py. What fits into memory together takes turns; what does not fit even
alone is named and left out.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import memory
import ours
import table
import torch
from arguments import add_peer, other_of, parser_of
from groups import Build, Group, started
from saved import Saved
from turns import Timing, take_turns
from work import Work, dtype_of, name_of

from partialfc.plan import Setting, memory_of

CLASSES = (1_000_000, 2_000_000, 4_000_000, 8_000_000)
TEN_MILLION = 10_000_000
ROWS = 100_000
CASES = ("growth", "ten")
MOMENTA = ("int8", "bfloat16", "float32")
LIBRARIES = 500 << 20  # of memory, beside a head's own
OTHERS_COPIES = 4.2  # of its weights, that the other implementation has in memory at its peak
USABLE = 0.95  # of the memory that is available


@dataclass(frozen=True)
class Entry:
    system: str
    build: Build
    work: Work

    @property
    def memory(self) -> int:
        """An estimate of its peak, for whether it fits."""
        elements = self.work.classes * self.work.embedding
        if self.system == ours.NAME:
            return LIBRARIES + elements * (self.work.storage.itemsize + self.work.momentum.itemsize)
        return LIBRARIES + round(OTHERS_COPIES * elements * self.work.storage.itemsize)


def growth(options: argparse.Namespace) -> Iterator[table.Row]:
    for classes in CLASSES:
        room = USABLE * memory.available()
        for together in _fitting_together(list(_entries(classes // options.shrink, options)), room):
            with started([(entry.build, entry.work) for entry in together]) as groups:
                timings = take_turns(groups, warmup=options.warmup, steps=options.steps)
            for entry, timing in zip(together, timings, strict=True):
                others = " and ".join(_short(other) for other in together if other is not entry)
                yield _row("growth", entry, timing) | {"in_turns_with": others} | table.surroundings()


def ten(options: argparse.Namespace) -> Iterator[table.Row]:
    """One row, yielded again after each operation with what that measured."""
    entry = Entry(ours.NAME, Saved, _small(_work(TEN_MILLION // options.shrink, options), options))
    with Group(entry.build, entry.work) as group, tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        (timing,) = take_turns([group], warmup=options.warmup, steps=options.steps)
        row = _row("ten", entry, timing)
        for operation, arguments in (("flush", ()), ("save", (Path(folder),)), ("resume", (Path(folder),))):
            yield row | table.surroundings()
            (facts,) = group.call(operation, *arguments)
            row |= _readable(facts)
    row["save_gb_per_s"] = table.rounded(row["checkpoint_gb"] / row["save_s"])
    row["resume_gb_per_s"] = table.rounded(row["checkpoint_gb"] / (row["verify_s"] + row["load_s"]))
    yield row | table.surroundings()


def _entries(classes: int, options: argparse.Namespace) -> Iterator[Entry]:
    work = _work(classes, options)
    yield Entry(*other_of(options), work)
    yield Entry(ours.NAME, ours.Ours, _small(work, options))
    yield Entry(ours.NAME, ours.Ours, work)


def _work(classes: int, options: argparse.Namespace) -> Work:
    return Work(classes, ROWS / options.shrink / classes, options.threads)


def _small(work: Work, options: argparse.Namespace) -> Work:
    bfloat16 = torch.bfloat16
    return replace(work, storage=bfloat16, compute=bfloat16, momentum=dtype_of(options.momentum))


def _fitting_together(entries: list[Entry], room: float) -> list[list[Entry]]:
    """The entries in sets that fit the memory together: each joins the first set that has room for it."""
    sets: list[list[Entry]] = []
    for entry in entries:
        if entry.memory > room:
            print(f"{_short(entry)}: left out, needs about {entry.memory / 1e9:.0f} GB of {room / 1e9:.0f}")
            continue
        for together in sets:
            if sum(member.memory for member in together) + entry.memory <= room:
                together.append(entry)
                break
        else:
            sets.append([entry])
    return sets


def _short(entry: Entry) -> str:
    work = entry.work
    return f"{entry.system} {name_of(work.storage)}/{name_of(work.momentum)} {work.classes:,}"


def _row(case: str, entry: Entry, timing: Timing) -> table.Row:
    work, facts = entry.work, timing.facts
    row = {"case": case, "system": entry.system} | work.columns() | timing.columns()
    return row | {
        "build_s": table.rounded(facts["build_s"]),
        "state_gb": table.rounded(facts["state_bytes"] / 1e9),
        "extra_memory_mb": round(facts["extra_bytes"] / 2**20),
        "measured_gb": table.rounded((facts["state_bytes"] + facts["extra_bytes"]) / 1e9),
        "planned_gb": table.rounded(planned(work) / 1e9) if entry.system == "partialfc" else "",
        "peak_gb": table.rounded(facts["peak_bytes"] / 1e9),
        "machine_gb": table.rounded(memory.total() / 1e9),
        "compiled": facts.get("compiled", ""),
    }


def planned(work: Work) -> int:
    """What `partialfc plan` says of the head's memory; measured_gb has the compiler in it besides."""
    return memory_of(
        Setting(
            classes=work.classes,
            embedding=work.embedding,
            gpus=work.processes,
            batch=work.batch_here,
            sample_rate=work.sample_rate,
            weight_dtype=name_of(work.storage),
            compute_dtype=name_of(work.compute),
            momentum_dtype=name_of(work.momentum),
            device="cpu",
        )
    ).total


def _readable(facts: dict[str, float]) -> table.Row:
    """Bytes as GB, by what their names end with."""
    row: table.Row = {}
    for name, value in facts.items():
        if name.endswith("_s"):
            row[name] = table.rounded(value)
        else:
            row[f"{name.removesuffix('_bytes')}_gb"] = table.rounded(value / 1e9)
    return row


def show(row: table.Row) -> None:
    """Print a row; of one that is yielded again, only what is new."""
    if "flush_s" not in row:
        print(
            f"{row['case']:7} {row['system']:13} {row['classes']:>10,} classes, {row['storage']} and "
            f"{row['momentum']}: built in {row['build_s']} s, {1000 * row['median_s']:.0f} ms a step "
            f"({1000 * row['p20_s']:.0f} to {1000 * row['p80_s']:.0f}), peak {row['peak_gb']} GB"
        )
    elif "checkpoint_gb" not in row:
        print(f"        flushed in {row['flush_s']} s, peak {row['flush_peak_gb']} GB")
    elif "load_s" not in row:
        print(f"        {row['checkpoint_gb']} GB saved in {row['save_s']} s, peak {row['save_peak_gb']} GB")
    else:
        print(
            f"        checked in {row['verify_s']} s and loaded in {row['load_s']} s, "
            f"peak {row['load_peak_gb']} GB; saved at {row['save_gb_per_s']}, resumed at "
            f"{row['resume_gb_per_s']} GB/s"
        )
    sys.stdout.flush()


def main() -> None:
    parser = parser_of(__doc__, cases=CASES)
    add_peer(parser)
    parser.add_argument("--momentum", choices=MOMENTA, default="int8", help="its dtype in small storage")
    parser.add_argument("--scratch", type=Path, help="a folder with room for a checkpoint of 16 GB")
    options = parser.parse_args()
    if options.scratch is not None:
        options.scratch.mkdir(parents=True, exist_ok=True)

    rows: dict[tuple[str, str, int, str], table.Row] = {}
    for case in options.cases:
        for row in (growth if case == "growth" else ten)(options):
            rows[case, row["system"], row["classes"], row["storage"]] = row
            show(row)
            if options.output:
                table.write(options.output, list(rows.values()))


if __name__ == "__main__":
    main()
