"""Fresh processes without the two seconds of imports: forked from one that has imported torch and partialfc.

A process started here is a process like any other, with its own pid, signals, standard streams and exit
status; it runs a module, a script or a program as `python -m MODULE`, `python SCRIPT` or `python -c PROGRAM`
do, from the first line on. Only the imports are already done. A test that is about the start itself, or about
a parent that dies, starts a new interpreter.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from tests.paths import ROOT
from tests.warm_client import ask

PRELOADED = (
    "partialfc.cli.app",
    "partialfc.doctor",
    "partialfc.evaluation.evaluate",
    "partialfc.training.run",
    "torch._inductor",  # as choosing deterministic algorithms or not does
    "torch.distributed.run",
    "numpy.ma",  # as statistics of angles do
    "tests.train_cases",  # the backbones of most runs
    "tests.frozen",
)
# The package is imported before the folder of these tests is there to be searched, in which it lies too.
BEGIN = "import sys, partialfc; sys.path.append(sys.argv[1]); from tests import warm; warm.begin(sys.argv[2])"
LARGEST_REQUEST = 1 << 20
FINALIZES = "WARM_FINALIZES"  # of a process's environment: it ends as an interpreter does, not at once


class WarmProcess:
    """A running program, with the parts of subprocess.Popen that tests use."""

    def __init__(self, connection: socket.socket, pid: int, stdout: Any, stderr: Any) -> None:
        self._connection = connection
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal, as of subprocess.Popen."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                answer = self._connection.recv(64)
            except TimeoutError as error:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0) from error
            self.returncode = int(answer)
            self._connection.close()
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """All that it still writes to the two pipes, once it has ended."""
        with ThreadPoolExecutor(2) as pool:
            out, err = pool.map(lambda pipe: pipe.read(), (self.stdout, self.stderr))
        self.wait()
        return out, err

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class WarmPython:
    """The process that others are forked from. It stays single-threaded, so forking it is safe.

    folder: of its files.
    executable: a file that stands for Python's own where a program starts Python by its path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executable = folder / "python"
        self._address = str(folder / "socket")

    def start(
        self, *words: object, env: Mapping[str, str], stdout: int, stderr: int, cwd: Path
    ) -> WarmProcess:
        """`python WORDS`; stdout, stderr: descriptors, or subprocess.PIPE for a text file to read from."""
        ends, readers, opened = [], [], []
        for wanted in (stdout, stderr):
            if wanted == subprocess.PIPE:
                ours, theirs = os.pipe()
                opened.append(theirs)
                ends.append(theirs)
                readers.append(os.fdopen(ours))
            else:
                ends.append(wanted)
                readers.append(None)
        connection, pid = ask(self._address, [str(word) for word in words], dict(env), str(cwd), ends)
        for theirs in opened:
            os.close(theirs)
        return WarmProcess(connection, pid, *readers)

    def run(self, *words: object, env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
        """`python WORDS` to its end; its output goes through files, so that neither stream can fill up."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            code = self.start(*words, env=env, stdout=out.fileno(), stderr=err.fileno(), cwd=cwd).wait()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(map(str, words)), code, out.read(), err.read())


class StartedPython(WarmPython):
    """One that is started here, until `close`.

    python: the interpreter. env and cwd say, with what is installed there, which partialfc it imports.
    """

    def __init__(
        self,
        python: Path | str = sys.executable,
        *,
        env: Mapping[str, str] = os.environ,
        cwd: Path = ROOT,
    ) -> None:
        self._made = tempfile.TemporaryDirectory()
        super().__init__(Path(self._made.name))
        client = ROOT / "tests" / "warm_client.py"
        self.executable.write_text(f'#!/bin/sh\nexec "{python}" -I -S "{client}" "{self._address}" "$@"\n')
        self.executable.chmod(0o755)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(self._address)
            listener.listen()
            self._server = subprocess.Popen(
                [python, "-c", BEGIN, str(ROOT), str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                env={**env, "OMP_NUM_THREADS": "1"},
                cwd=cwd,
            )

    def close(self) -> None:
        self._server.communicate()  # the end of its standard input ends it
        self._made.cleanup()


def begin(listener: str) -> None:
    """Import what most programs need, and serve on this descriptor."""
    for name in PRELOADED:
        importlib.import_module(name)
    sys.path.pop()  # the folder of these tests, of which programs know nothing
    serve(socket.socket(fileno=int(listener)))


def serve(listener: socket.socket) -> None:
    """Fork a process for each request, answer its pid, then its exit status; until stdin ends.

    A process whose asker is gone before it ends is killed.
    """
    children: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
    askers: dict[int, int] = {}  # by descriptor, the pid
    poll = select.poll()
    for descriptor in (0, listener.fileno()):
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == 0:
                return
            if descriptor == listener.fileno():
                connection, _ = listener.accept()
                try:
                    request, streams = _receive(connection)
                except EOFError:
                    continue
                pid = os.fork()
                if pid == 0:
                    become(request, streams)
                for stream in streams:
                    os.close(stream)
                handle = os.pidfd_open(pid)
                poll.register(handle, select.POLLIN)
                poll.register(connection.fileno(), select.POLLHUP)
                children[handle] = (pid, connection)
                askers[connection.fileno()] = pid
                with contextlib.suppress(BrokenPipeError):  # the asker is gone; the poll sees it too
                    connection.sendall(b"%d\n" % pid)
            elif descriptor in askers:
                os.kill(askers.pop(descriptor), signal.SIGKILL)
                poll.unregister(descriptor)
            elif descriptor in children:
                pid, connection = children.pop(descriptor)
                poll.unregister(descriptor)
                os.close(descriptor)
                if askers.pop(connection.fileno(), None):
                    poll.unregister(connection.fileno())
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with contextlib.suppress(OSError), connection:
                    connection.sendall(b"%d" % code)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request and its streams. Raises EOFError where the asker was killed while it asked."""
    data, streams = b"", list[int]()
    while not data.endswith(b"\n"):
        part, more, _, _ = socket.recv_fds(connection, LARGEST_REQUEST, 2)
        if not part:
            raise EOFError
        data, streams = data + part, streams + list(more)
    return json.loads(data), streams


def become(request: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """In the forked process: take over the streams, and run the program as the interpreter would."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, stream in enumerate((nothing, *streams)):
        os.dup2(stream, target)
    os.closerange(3, 256)  # the server's own, and other children's
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    words = request["words"]
    is_script = words[0] not in ("-m", "-c")
    sys.path[0] = str(Path(words[0]).parent.absolute()) if is_script else request["cwd"]
    sys.argv = words if is_script else words[1:]
    code = 1
    try:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            sys.argv[0] = "-c"
            sys.modules["__main__"] = ModuleType("__main__")
            exec(words[1], vars(sys.modules["__main__"]))
        else:
            runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    if FINALIZES in os.environ:
        sys.exit(code)
    os._exit(code)
