"""The head's step against another implementation and against the machine's floor.

    python benchmarks/head.py --peer insightface/recognition/arcface_torch --output benchmarks/head.csv

A step is forward, backward, the optimizer's step and zero_grad; ArcFace, SGD with momentum 0.9 and weight
decay 5e-4, embeddings of 512, a global batch of 256, new embeddings and labels in each step. All that is
compared takes turns, one step each, each in its own process. Without --peer (see peer.py) the other
implementation is a dense twin in plain torch (dense_twin.py), under that name; both compute in float32.

    sampled    1M classes, a tenth of them a step: ours in float32 and bfloat16, the other, the floors
    full       200k classes, all of them: the same
    processes  the sampled case in one process of all threads, and in as many processes of one thread

The floor is the least the machine could take (floor.py). Extra memory is the peak of resident memory, minus
what was resident before the head was built, minus weights and momentum. The first step compiles.
Bytes of the collectives are as partialfc.distributed.traffic.Traffic counts them.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import floor
import ours
import table
from arguments import add_peer, other_of, parser_of
from groups import Build, started
from turns import Timing, take_turns
from work import DTYPES, FULL, SAMPLED, Work, name_of


@dataclass(frozen=True)
class Entry:
    """One of those that take turns; its speed-up is over the system and work of `over`."""

    system: str
    build: Build
    work: Work
    over: tuple[str, Work] | None = None


Other = tuple[str, Build]


def sampled(other: Other, options: argparse.Namespace) -> list[Entry]:
    return _against(other, _work(SAMPLED, options))


def full(other: Other, options: argparse.Namespace) -> list[Entry]:
    return _against(other, _work(FULL, options))


def processes(other: Other, options: argparse.Namespace) -> list[Entry]:
    entries = []
    for dtype in DTYPES:
        one = replace(_work(SAMPLED, options), compute=dtype)
        many = replace(one, processes=options.threads, threads=1)
        entries += [
            Entry(ours.NAME, ours.Ours, one),
            Entry(ours.NAME, ours.Ours, many, over=(ours.NAME, one)),
        ]
    return entries


def _work(case: tuple[int, float], options: argparse.Namespace) -> Work:
    classes, sample_rate = case
    return Work(classes // options.shrink, sample_rate, options.threads)


def _against(other: Other, work: Work) -> list[Entry]:
    name, build = other
    works = [replace(work, compute=dtype) for dtype in DTYPES]
    return [
        *(Entry(ours.NAME, ours.Ours, each, over=(name, work)) for each in works),
        Entry(name, build, work),
        *(Entry(floor.NAME, floor.Floor, each) for each in works),
    ]


CASES: dict[str, Callable[[Other, argparse.Namespace], list[Entry]]] = {
    "sampled": sampled,
    "full": full,
    "processes": processes,
}


def measure(case: str, entries: list[Entry], options: argparse.Namespace) -> list[table.Row]:
    with started([(entry.build, entry.work) for entry in entries]) as groups:
        timings = take_turns(groups, warmup=options.warmup, steps=options.steps)
    timed = list(zip(entries, timings, strict=True))
    return [_row(case, entry, timing, timed) for entry, timing in timed]


def _row(case: str, entry: Entry, timing: Timing, timed: list[tuple[Entry, Timing]]) -> table.Row:
    row = {"case": case, "system": entry.system} | entry.work.columns() | timing.columns()
    return row | _facts(entry.work, timing) | _compared(entry, timing, timed) | table.surroundings()


def _facts(work: Work, timing: Timing) -> table.Row:
    facts = timing.facts
    row: table.Row = {}
    if "extra_bytes" in facts:
        row["extra_memory_mb"] = round(facts["extra_bytes"] / 2**20)
        row["first_loss"] = table.rounded(facts["first_loss"])
    if "compiled" in facts:
        row["compiled"] = facts["compiled"]
    if facts.get("collectives"):
        row["collectives"] = facts["collectives"]
        row["bytes_a_rank"] = facts["moved_bytes"] // work.processes
    if "products_s" in facts:
        row["products_s"] = table.rounded(facts["products_s"])
        row["copy_gb_per_s"] = table.rounded(facts["bytes_per_s"] / 1e9)
        row["products"] = facts["products"]
    return row


def _compared(entry: Entry, timing: Timing, timed: list[tuple[Entry, Timing]]) -> table.Row:
    row: table.Row = {}
    for its, other in timed:
        if (its.system, its.work) == (floor.NAME, entry.work) and its is not entry:
            row["floor_s"] = table.rounded(other.p50)
            row["over_floor"] = table.rounded(timing.p50 / other.p50)
        if (its.system, its.work) == entry.over:
            row["over"] = f"{its.system} {name_of(its.work.compute)} {_spread(its.work)}"
            row["speedup"] = table.rounded(other.p50 / timing.p50)
    return row


def _spread(work: Work) -> str:
    return f"{work.processes} x {work.threads}"


def show(rows: list[table.Row]) -> None:
    """As a table on the screen: milliseconds, and MiB beyond weights and momentum."""
    print(f"{'case':10} {'system':13} {'compute':8}  procs x threads  median    p20    p80    first   extra")
    for row in rows:
        cells = [f"{row['case']:10} {row['system']:13} {row['compute']:8}"]
        cells.append(f"{row['processes']:>6} x {row['threads']:<7}")
        cells += [f"{1000 * row[name]:6.0f}" for name in ("median_s", "p20_s", "p80_s", "first_step_s")]
        cells.append(f"{row.get('extra_memory_mb', ''):>7}")
        if "floor_s" in row:
            cells.append(f" {row['over_floor']:.2f} x the floor")
        if "speedup" in row:
            cells.append(f" {row['speedup']:.2f} x as fast as {row['over']}")
        if "products_s" in row:
            cells.append(f" products {1000 * row['products_s']:.0f} ms, copies {row['copy_gb_per_s']} GB/s")
        if "collectives" in row:
            cells.append(f" {row['collectives']}: {row['bytes_a_rank']:,} bytes a step and rank")
        print(" ".join(cells).rstrip(), flush=True)


def main() -> None:
    parser = parser_of(__doc__, cases=list(CASES))
    add_peer(parser)
    options = parser.parse_args()
    other = other_of(options)
    rows = []
    for case in options.cases:
        measured = measure(case, CASES[case](other, options), options)
        show(measured)
        rows += measured
        if options.output:
            table.write(options.output, rows)


if __name__ == "__main__":
    main()
