"""The head's step against another implementation and against the machine's floor.

    python benchmarks/head.py --peer insightface/recognition/arcface_torch --output benchmarks/head.csv

A step is forward, backward, the optimizer's step and zero_grad; ArcFace, SGD with momentum 0.9 and weight
decay 5e-4, embeddings of 512, a global batch of 256, new embeddings and labels in each step. All that is
compared takes turns, one step each, each in its own process. Without --peer (see peer.py) the other
implementation is a dense twin in plain torch (dense_twin.py), under that name; both compute in float32.

    sampled    1M classes, a tenth of them a step: ours in float32 and bfloat16, the other, the floors
    full       200k classes, all of them: the same
    processes  the sampled case in one process of all threads, and in as many processes of one thread

With --device cuda (or another accelerator) the same on that device, and ours uncompiled in bfloat16, and the
peer with its `fp16`. --fused adds to the full case the fused linear cross-entropies that are installed
(fused.py). What cannot be built, or fails in a step, gets a row that says why; the dense twin stands in for a
peer that cannot be built.

The floor is the least the machine could take (floor.py). Extra memory is the peak of resident memory, minus
what was resident before the head was built, minus weights and momentum; on an accelerator it is what torch's
allocator gave out. The first step compiles.
Bytes of the collectives are as partialfc.distributed.traffic.Traffic counts them.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import dense_twin
import floor
import fused
import ours
import peer
import table
import torch
from arguments import add_peer, other_of, parser_of
from groups import Build, started_or_not
from turns import Timing, take_turns_or_fail
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
    work = _work(FULL, options)
    entries = _against(other, work)
    for name, build in fused.installed() if options.fused else []:
        entries += [Entry(name, build, replace(work, compute=dtype)) for dtype in DTYPES]
    return entries


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
    classes //= options.shrink
    return Work(classes, sample_rate, options.threads, batch=options.batch, device=options.device)


def _against(other: Other, work: Work) -> list[Entry]:
    name, build = other
    works = [replace(work, compute=dtype) for dtype in DTYPES]
    ourselves, others = [*works], [work]
    if work.device != "cpu":
        ourselves.append(replace(work, compute=torch.bfloat16, compile=False))
        others += [replace(work, compute=torch.float16)] if name == peer.NAME else []
    return [
        *(Entry(ours.NAME, ours.Ours, each, over=(name, work)) for each in ourselves),
        *(Entry(name, build, each) for each in others),
        *(Entry(floor.NAME, floor.Floor, each) for each in works),
    ]


CASES: dict[str, Callable[[Other, argparse.Namespace], list[Entry]]] = {
    "sampled": sampled,
    "full": full,
    "processes": processes,
}


def measure(case: str, entries: list[Entry], options: argparse.Namespace) -> list[table.Row]:
    with started_or_not([(entry.build, entry.work) for entry in entries]) as groups:
        twins = [
            replace(entry, system=dense_twin.NAME, build=dense_twin.DenseTwin)
            for entry, group in zip(entries, groups, strict=True)
            if isinstance(group, RuntimeError)
            and (entry.system, entry.work.compute) == (peer.NAME, torch.float32)
        ]
        with started_or_not([(entry.build, entry.work) for entry in twins]) as others:
            found = take_turns_or_fail([*groups, *others], warmup=options.warmup, steps=options.steps)
    tried = list(zip([*entries, *twins], found, strict=True))
    timed = [(entry, timing) for entry, timing in tried if isinstance(timing, Timing)]
    return [
        _row(case, entry, timing, timed) if isinstance(timing, Timing) else _failed(case, entry, timing)
        for entry, timing in tried
    ]


def _failed(case: str, entry: Entry, error: RuntimeError) -> table.Row:
    """The last line of what went wrong."""
    row = {"case": case, "system": entry.system} | entry.work.columns()
    return row | {"failed": str(error).strip().splitlines()[-1]} | table.surroundings()


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
        least = replace(entry.work, compile=None)
        if (its.system, its.work) == (floor.NAME, least) and its is not entry:
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
        if "failed" in row:
            print(" ".join([*cells, row["failed"]]), flush=True)
            continue
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
    parser.add_argument("--fused", action="store_true", help="fused linear cross-entropies beside it, too")
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
