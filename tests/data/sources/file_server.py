"""A real HTTP server for the files of a folder, in a thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web


class FileServer:
    """Gives whole files and parts of them; after `lives` answers, if that is set, it is gone.

    refuse: the status with which a path is answered instead, or None.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.lives, self.answered = folder, None, 0
        self.refuse: Callable[[str], int | None] = lambda path: None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._runner, self.port = self._do(self._start())

    lives: int | None

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        self._do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, what):
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    async def _start(self):
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.answered += 1
        if self.lives is not None and self.answered > self.lives:
            for site in list(self._runner.sites):
                await site.stop()
            request.transport.abort()
            return web.Response()  # to nobody
        name = request.match_info["path"]
        if status := self.refuse(name):
            return web.Response(status=status)
        path = self.folder / name
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)


@contextmanager
def served(folder: Path) -> Iterator[FileServer]:
    server = FileServer(folder)
    try:
        yield server
    finally:
        server.close()
