"""What opening a large `.rec` takes: `python benchmarks/index.py --output FILE.csv`.

The `.idx` is written, one line a record, into `--folder`, 220 MB for ten million. The `.rec` is pretended:
all records have the same size, and what is read of them is computed. Each case runs in a process of its
own, which says how much more memory it holds after opening, and at most held, than before, in bytes a
record; and of a second process how much memory that one holds for itself which gets the reader by a pickle,
as a loader's worker does.

By `--keys`, the index is as partialfc and MXNet write it (`counting`), with record 0 at the end as by
InsightFace's own builder (`last`), or with the keys of a shuffled list, as by im2rec (`shuffled`).
"""

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import table

from partialfc.data.sources import record_reader
from partialfc.data.sources.record_file import RecordFile
from partialfc.data.sources.record_reader import RecordReader
from partialfc.data.sources.recordio import FRAME, MAGIC, Header, pack

RECORD = 8192  # bytes of each: about a face of 112 x 112
PAYLOAD = pack(Header(0, (0.0,)), bytes(RECORD - FRAME.size - 24))
WHOLE = FRAME.pack(MAGIC, len(PAYLOAD)) + PAYLOAD
PART = 1_000_000  # lines that are made at a time


class PretendedFile(RecordFile):
    """So many equal records; the file itself is empty but for one byte."""

    records = 0

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.size = self._size_now()

    def _size_now(self) -> int:
        return self.records * RECORD

    def read(self, start: int, count: int) -> bytes:
        count = max(0, min(count, self.size - start))
        at = start % RECORD
        return (WHOLE * (count // RECORD + 2))[at : at + count]


def write_index(path: Path, records: int, keys: str) -> None:
    with path.open("w") as file:
        for start in range(0, records, PART):
            stop = min(start + PART, records)
            numbers = key_of(np.arange(start, stop), records, keys).tolist()
            offsets = range(start * RECORD, stop * RECORD, RECORD)
            file.writelines(map("%d\t%d\n".__mod__, zip(numbers, offsets, strict=True)))


def key_of(positions: np.ndarray, records: int, keys: str) -> np.ndarray:
    match keys:
        case "last":
            return (positions + 1) % records
        case "shuffled":
            return positions * 7_368_787 % records  # a prime, so each comes once
    return positions


def memory(field: str) -> int:
    """Of this process, in bytes: VmRSS or RssAnon now, VmHWM at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def opening(path: Path, records: int) -> dict[str, float]:
    """In a process of its own."""
    PretendedFile.records = records
    record_reader.RecordFile = PretendedFile
    before, wall, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    reader = RecordReader(path)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    held, most = memory("VmRSS") - before, memory("VmHWM") - before
    assert len(reader) == records
    started = time.process_time()
    keys = np.random.default_rng(0).integers(records, size=10_000).tolist()
    for key in keys:
        reader.view(key)
    read = (time.process_time() - started) / len(keys)
    packed = pickle.dumps(reader)
    worker = subprocess.run(
        [sys.executable, __file__, "--worker", str(records)], input=packed, capture_output=True, check=True
    )
    return {
        "opening_cpu_s": round(cpu, 4),
        "opening_wall_s": round(wall, 4),
        "bytes_a_record": round(held / records, 2),
        "most_bytes_a_record": round(most / records, 2),
        "held_mb": round(held / 1e6, 1),
        "read_us": round(read * 1e6, 2),
        "pickle_bytes": len(packed),
        "worker_mb": float(worker.stdout),
    }


def in_a_worker(records: int) -> float:
    """MB of its own that a process holds for the reader that it gets by a pickle and uses."""
    PretendedFile.records = records
    packed = sys.stdin.buffer.read()
    before = memory("RssAnon")
    reader = pickle.loads(packed)
    for key in range(0, records, max(1, records // 1000)):
        reader.view(key)
    return round((memory("RssAnon") - before) / 1e6, 1)


def cases(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for records in arguments.records:
        for keys in arguments.keys:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                path = Path(folder) / "train.rec"
                path.write_bytes(b"\0")
                write_index(path.with_suffix(".idx"), records, keys)
                for _ in range(arguments.rounds):
                    found = subprocess.run(
                        [sys.executable, __file__, "--open", str(path), str(records)],
                        stdout=subprocess.PIPE,
                        check=True,
                    )
                    row = {"records": records, "keys": keys, **json.loads(found.stdout)}
                    print(" ".join(f"{name}={value}" for name, value in row.items()), flush=True)
                    yield row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, nargs="+", default=[10_000_000, 100_000_000])
    parser.add_argument("--keys", nargs="+", default=["counting"], choices=["counting", "last", "shuffled"])
    parser.add_argument("--rounds", type=int, default=3, help="How often each is opened.")
    parser.add_argument("--folder", type=Path, help="For the .idx files; default: the system's for such.")
    parser.add_argument("--output", type=Path, help="CSV file; without it the rows go to the screen only")
    parser.add_argument("--open", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.open:
        print(json.dumps(opening(Path(arguments.open[0]), int(arguments.open[1]))))
    elif arguments.worker:
        print(in_a_worker(arguments.worker))
    else:
        rows = list(cases(arguments))
        if arguments.output:
            table.write(arguments.output, [{**row, **table.surroundings()} for row in rows])


if __name__ == "__main__":
    main()
