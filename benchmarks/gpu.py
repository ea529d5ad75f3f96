"""All that a GPU is needed for, in one command of under nine minutes: what works, and how fast the head is.

    python benchmarks/gpu.py      # make gpu

Each part is a process of its own with a time limit, so that one that fails or hangs costs the others nothing;
what the limit or the whole budget cuts short says so. On a machine without a GPU the parts that need one are
left out, and the head's measurements only prove that they run: on the CPU, with few classes. The rows of this
machine replace those of its card in the CSV file, and the file beside it (.md) has the rows of every card as
tables: benchmarks/gpu.csv, to commit, or without a GPU build/gpu.csv, as that proves less. The parts' own
output goes to the folder of --logs. SIGINT, SIGTERM or SIGHUP ends the part that runs and leaves out those to
come; the rows are written. The exit status is 1 if a part failed, 2 where an option does not hold, and 130
after a Ctrl-C.
"""

import argparse
import contextlib
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import gpu_table
import peer
import table
import torch
from gpu_table import CUT_SHORT, FAILED, LEFT_OUT, PASSED

ROOT = Path(__file__).parents[1]
BUDGET_S = 510.0
RESERVE_S = 12.0  # kept for each part that is still to come
GRACE_S = 15.0  # for a process that is told to end, to write what it has
GRACE_OF_STOP_S = 5.0  # the same where someone waits for it
HEAD_BYTES = 40e9  # of device memory that all of a case of head.py take together, at full size
ON_CPU = ["--shrink", "250", "--batch", "64", "--steps", "3", "--warmup", "1"]


@dataclass(frozen=True)
class Part:
    """A command; what its files and its end say, as rows."""

    name: str
    command: Sequence[str]
    seconds: float
    read: Callable[["Part", "Ended"], list[table.Row]]
    lacks: str | None = None  # why it cannot run here
    output: Path | None = None


@dataclass(frozen=True)
class Ended:
    """code: None where the time was up."""

    code: int | None
    seconds: float
    log: Path

    def row(self, part: Part, result: str, detail: str = "") -> table.Row:
        return {"part": part.name, "result": result, "detail": detail, "seconds": round(self.seconds)}

    def last_line(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "no output"


class Stop:
    """Notes a signal to stop, such as Ctrl-C's: the part that runs is to end, and no other to begin."""

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._note)

    def _note(self, number: int, _: object) -> None:
        self.signal = number


def run(part: Part, seconds: float, log: Path, environment: dict[str, str], stop: Stop) -> Ended:
    """The part, ended by SIGINT after `seconds` or at `stop`, and killed where that does not help."""
    started = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            part.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code: int | None = None
        while code is None and stop.signal is None and time.monotonic() - started < seconds:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=0.2)
        if code is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=GRACE_S if stop.signal is None else GRACE_OF_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it left behind
        process.wait()
    return Ended(code, time.monotonic() - started, log)


def read_exit(part: Part, ended: Ended) -> list[table.Row]:
    """Passed where the exit status is 0."""
    if ended.code is None:
        return [ended.row(part, CUT_SHORT, f"after {ended.seconds:.0f} s")]
    return [ended.row(part, FAILED if ended.code else PASSED, ended.last_line() if ended.code else "")]


def read_tests(part: Part, ended: Ended) -> list[table.Row]:
    """How many tests passed and were skipped, and which failed."""
    assert part.output is not None
    if not part.output.exists():
        result = CUT_SHORT if ended.code is None else FAILED
        return [ended.row(part, result, "no test ended" if ended.code is None else ended.last_line())]
    cases = list(ElementTree.parse(part.output).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    row = ended.row(part, FAILED if failed else CUT_SHORT if ended.code is None else PASSED)
    row |= {"passed": len(cases) - len(failed) - len(skipped), "skipped": len(skipped), "failed": len(failed)}
    if failed:
        row["detail"] = "; ".join(case.get("name", "") for case in failed)
    elif ended.code not in (0, None):  # such as 5: no test was there
        row |= {"result": FAILED, "detail": ended.last_line()}
    return [row]


def read_head(part: Part, ended: Ended) -> list[table.Row]:
    """A row for the case, and one for each of those measured."""
    assert part.output is not None
    if not part.output.exists():
        return read_exit(part, ended)
    measured = table.read(part.output)
    ours_failed = [row["failed"] for row in measured if row.get("failed") and row["system"] == "partialfc"]
    rows = [ended.row(part, FAILED if ours_failed else PASSED, "; ".join(ours_failed))]
    return rows + [{"part": part.name, **gpu_table.figures(row)} for row in measured]


def parts(device: str, options: argparse.Namespace) -> list[Part]:
    """The most telling first: what is late may be cut short."""
    python, logs = sys.executable, options.logs
    no_gpu = None if device != "cpu" or os.environ.get("PARTIALFC_TEST_DEVICE") else "no GPU"

    def tests(name: str, seconds: float, files: Sequence[str], lacks: str | None = None) -> Part:
        output = logs / f"{name}.xml"
        command = [python, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--junitxml", output]
        command += ["-p", "xdist.plugin", "-p", "pytest_timeout", "-n", str(options.jobs), *options.tests]
        return Part(name, [*map(str, command), *files], seconds, read_tests, no_gpu or lacks, output)

    def head(name: str, case: str) -> Part:
        output = logs / f"{name}.csv"
        command = [python, "benchmarks/head.py", "--cases", case, "--output", output, "--device", device]
        command += ["--fused"] + (["--peer", options.peer] if options.peer else [])
        command += ON_CPU if device == "cpu" else ["--batch", "1024", "--steps", "25", *shrunk(device)]
        seconds = 200 if device == "cpu" else 130
        return Part(name, list(map(str, command)), seconds, read_head, None, output)

    no_dali = None if find_spec("nvidia") and find_spec("nvidia.dali") else "NVIDIA DALI is not installed"
    marked = files_with_tests()
    of_head = [file for file in marked if file.startswith(("tests/head/", "tests/plan/"))]
    of_ranks = [file for file in marked if file.startswith("tests/distributed/")]
    of_dali = [file for file in marked if file.endswith("test_dali.py")]
    of_training = [file for file in marked if file not in (*of_head, *of_ranks, *of_dali)]
    return [
        Part("doctor", [python, "-m", "partialfc", "doctor"], 80, read_exit),
        tests("tests of the head", 120, of_head),
        tests("NCCL, one rank", 50, of_ranks),
        tests("tests of training", 110, of_training),
        head("head, a tenth of the classes", "sampled"),
        head("head, all classes", "full"),
        tests("DALI", 40, of_dali, lacks=no_dali),
    ]


def files_with_tests() -> list[str]:
    """Those with tests marked `gpu`: what other files import may not be installed."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    marked = [file for file in files if "pytest.mark.gpu" in file.read_text()]
    return [str(file.relative_to(ROOT)) for file in marked if file.name != "test_gpu_marked.py"]


def shrunk(device: str) -> list[str]:
    """A smaller case for a device whose free memory does not hold all that are compared."""
    free, _ = torch.accelerator.get_memory_info(torch.device(device))
    return ["--shrink", str(max(1, math.ceil(HEAD_BYTES / free)))]


def measure(todo: Sequence[Part], options: argparse.Namespace, stop: Stop) -> list[table.Row]:
    """Every part in turn, within the budget."""
    ends = time.monotonic() + options.seconds
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a machine's own plugins may not fit this pytest
    }
    rows: list[table.Row] = []
    for number, part in enumerate(todo):
        later = sum(other.lacks is None for other in todo[number + 1 :])
        left = ends - time.monotonic() - later * RESERVE_S - GRACE_S
        if part.lacks is not None or stop.signal is not None or left < RESERVE_S:
            reason = part.lacks or ("no time was left" if stop.signal is None else "interrupted")
            found: list[table.Row] = [{"part": part.name, "result": LEFT_OUT, "detail": reason}]
        else:
            log = options.logs / f"{part.name}.txt"
            if part.output is not None:
                part.output.unlink(missing_ok=True)
            ended = run(part, min(part.seconds, left), log, environment, stop)
            found = part.read(part, ended)
            if stop.signal is not None and ended.code is None and found[0]["result"] == CUT_SHORT:
                found[0]["detail"] = f"interrupted after {ended.seconds:.0f} s"
            if found[0]["result"] == FAILED:
                print(log.read_text(errors="replace")[-6000:])
        rows += found
        print(gpu_table.line(found[0]), flush=True)
    return rows + gpu_table.not_compared(options.peer)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, help="a checkout's recognition/arcface_torch")
    parser.add_argument("--output", type=Path, help="CSV file that the rows go into, and a .md beside it")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "gpu-logs")
    parser.add_argument("--seconds", type=float, default=BUDGET_S, help="for everything together")
    parser.add_argument("--jobs", type=int, default=4, help="processes that the tests run in, on one GPU")
    parser.add_argument("--parts", nargs="+", help="only these, by name")
    parser.add_argument(
        "--tests", type=shlex.split, default=[], help='further words for pytest: --tests="-x"'
    )
    options = absolute_paths(parser.parse_args())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        todo = prepared(device, options)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    stop = Stop()
    about = gpu_table.about(device)
    rows = [row | about for row in measure(todo, options, stop)]
    print(f"\n{gpu_table.markdown(rows)}")
    gpu_table.write(options.output, rows)
    to_commit = "commit both" if device != "cpu" else "nothing to commit: no GPU"
    if stop.signal is not None:
        to_commit = "interrupted, so some of the rows are missing"
    print(f"written to {options.output} and {options.output.with_suffix('.md')}: {to_commit}")
    sys.exit(128 + stop.signal if stop.signal else any(row.get("result") == FAILED for row in rows))


def prepared(device: str, options: argparse.Namespace) -> list[Part]:
    """The parts to run; an OSError or a ValueError where a path or a name among the options does not hold."""
    if options.output is None:
        folder = ROOT / ("benchmarks" if device != "cpu" else "build")
        folder.mkdir(exist_ok=True)
        options.output = folder / "gpu.csv"
    if options.peer:
        peer.at(options.peer)
    every = parts(device, options)
    unknown = set(options.parts or ()) - {part.name for part in every}
    if unknown:
        names = "; ".join(part.name for part in every)
        raise ValueError(
            f"--parts {'; '.join(sorted(unknown))}: there is no such part. The parts are: {names}"
        )
    options.logs.mkdir(parents=True, exist_ok=True)
    gpu_table.check(options.output)
    return [part for part in every if options.parts is None or part.name in options.parts]


def absolute_paths(options: argparse.Namespace) -> argparse.Namespace:
    """The same with paths that hold in every folder, as parts run in the repository's."""
    for name in ("peer", "output", "logs"):
        path = getattr(options, name)
        setattr(options, name, path and path.expanduser().absolute())
    return options


if __name__ == "__main__":
    main()
