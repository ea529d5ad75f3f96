"""Stands for Python's executable where a program starts it by path, as torchrun does: see tests/warm.py.

`python warm_client.py ADDRESS [-u] -m MODULE ...` has the warm process run that, with this process's streams,
environment and folder; passes signals on, and ends as it ends. It imports little, so that it starts at once.
"""

import json
import os
import signal
import socket
import sys


def ask(
    address: str, words: list[str], env: dict[str, str], cwd: str, streams: list[int]
) -> tuple[socket.socket, int]:
    """Have `python WORDS` started; its pid, and the connection that will give its exit status."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    request = {"words": words, "env": env, "cwd": cwd}
    socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], streams)
    return connection, int(connection.makefile("rb", buffering=0).readline())


def main() -> None:
    _, address, *words = sys.argv
    if words[0] == "-u":
        del words[0]
    connection, pid = ask(address, words, dict(os.environ), os.getcwd(), [1, 2])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda caught, _: os.kill(pid, caught))
    code = int(connection.recv(64))
    if code < 0:
        if -code in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
