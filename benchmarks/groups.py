"""The subjects of a measurement, each in its own processes, which call what the parent process asks for."""

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore, Store
from work import Work


class Subject(Protocol):
    """What a process builds and its parent calls by name; `step` returns the seconds it took."""

    def step(self) -> float: ...

    def facts(self) -> dict[str, Any]: ...


Build = Callable[[Work, int], Subject]  # (work, rank): run in the child, so a function or class of a module


class Group:
    """The processes of one subject; a call runs in all of them at once. A context manager."""

    def __init__(self, build: Build, work: Work) -> None:
        context = multiprocessing.get_context("forkserver")
        # Once for all of them: torch, and what the first step of any optimizer of torch's imports.
        context.set_forkserver_preload(["partialfc", "torch._dynamo"])
        self._folder = tempfile.TemporaryDirectory()
        self._children: list[tuple[Any, Connection]] = []
        for rank in range(work.processes):
            here, there = context.Pipe()
            arguments = (there, build, work, rank, Path(self._folder.name))
            process = context.Process(target=_serve, args=arguments)
            process.start()
            there.close()
            self._children.append((process, here))
        try:
            self._answers()
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *arguments: object) -> list[Any]:
        """The method's result in each process."""
        for _, pipe in self._children:
            pipe.send((method, arguments))
        return self._answers()

    def step(self) -> float:
        """Seconds of the slowest process."""
        return float(max(self.call("step")))

    def facts(self) -> dict[str, Any]:
        """The subject's facts: numbers are summed over its processes."""
        first, *others = self.call("facts")
        for facts in others:
            first |= {
                name: first[name] + value for name, value in facts.items() if not isinstance(value, str)
            }
        return dict(first)

    def close(self) -> None:
        for _, pipe in self._children:
            pipe.close()  # the child's next read ends it
        for process, _ in self._children:
            process.join(timeout=60)
            if process.is_alive():
                process.kill()
                process.join()
        self._folder.cleanup()

    def __enter__(self) -> "Group":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answers(self) -> list[Any]:
        return [_answer(process, pipe) for process, pipe in self._children]


@contextmanager
def started_or_not(subjects: Sequence[tuple[Build, Work]]) -> Iterator[list["Group | RuntimeError"]]:
    """Like `started`, with the error in place of a subject that cannot be built."""
    with ExitStack() as stack:
        groups: list[Group | RuntimeError] = []
        for build, work in subjects:
            try:
                groups.append(stack.enter_context(Group(build, work)))
            except RuntimeError as error:
                groups.append(error)
        yield groups


@contextmanager
def started(subjects: Sequence[tuple[Build, Work]]) -> Iterator[list[Group]]:
    """All subjects, built one after another."""
    with ExitStack() as stack:
        yield [stack.enter_context(Group(build, work)) for build, work in subjects]


def join_process_group(rank: int, size: int, store: Store, *, backend: str = "gloo") -> None:
    """Join the process group of processes on this machine; one process alone is a group too."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)


def _serve(pipe: Connection, build: Build, work: Work, rank: int, folder: Path) -> None:
    try:
        os.environ["OMP_NUM_THREADS"] = str(work.threads)
        # Compiled code starts cold, so that the first step shows what a first run waits for. A test, which
        # looks at no times, names a folder in which some of it is.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ.get("BENCHMARK_COMPILED", str(folder / "compiled"))
        torch.set_num_threads(work.threads)
        if work.processes > 1:
            join_process_group(rank, work.processes, FileStore(str(folder / "store"), work.processes))
        subject = build(work, rank)
        pipe.send((True, None))
        while True:
            try:
                method, arguments = pipe.recv()
            except EOFError:
                break
            pipe.send((True, getattr(subject, method)(*arguments)))
    except BaseException:
        pipe.send((False, traceback.format_exc()))
    if dist.is_initialized():
        dist.destroy_process_group()


def _answer(process: Any, pipe: Connection) -> Any:
    try:
        worked, result = pipe.recv()
    except EOFError:
        process.join(timeout=10)
        raise RuntimeError(
            f"a process of the benchmark ended with exit code {process.exitcode}; -9 is most often a "
            "machine short of memory"
        ) from None
    if not worked:
        raise RuntimeError(f"a process of the benchmark failed:\n{result}")
    return result
