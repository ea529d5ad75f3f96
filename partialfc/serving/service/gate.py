"""What each request passes before it is routed: what it asks for, whether there is room, who may ask; and
its answer is counted.
"""

import time
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from partialfc.serving.service.connection import CROWDED
from partialfc.serving.service.numbers import OTHER, Numbers
from partialfc.serving.service.problem import CLOSE, JSON, Problem, busy
from partialfc.serving.service.target import read_target
from partialfc.serving.service.token import Token, names_loopback

PROBES = ("/healthz", "/readyz")  # which say nothing that has to be hidden
METHOD = "partialfc.method"  # in the scope: that of the request, where HEAD is answered as GET


class Gate:
    """An ASGI application around another one.

    PROBES are always answered. With a token, every other request must have it. Without one the service is on
    loopback, and requests must name this machine, so that no page in a browser asks in its user's stead.
    HEAD is GET without the body (RFC 9110, 9.3.2), which the server leaves out.
    """

    def __init__(self, app: ASGIApp, *, token: Token | None, numbers: Numbers) -> None:
        self._app, self._token, self._numbers = app, token, numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._numbers.in_flight.track_inprogress():
            scope = {**scope, METHOD: scope["method"]}
            if scope["method"] == "HEAD":
                scope["method"] = "GET"
            try:
                if refused := self._refusal(scope):
                    await answer(refused)(scope, receive, counted)
                else:
                    await self._app(scope, receive, counted)
            finally:
                route = getattr(scope.get("route"), "path_format", OTHER)
                self._numbers.requests.labels(route, status or "none").inc()
                self._numbers.request_seconds.labels(route).observe(time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> Problem | None:
        """Why the request is not routed. Its path is set to what it asks for."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            rule = "must stand without Content-Length: a proxy may see the end of the body elsewhere"
            value = headers["transfer-encoding"]
            return Problem(HTTPStatus.BAD_REQUEST, "Transfer-Encoding", value, rule, headers=CLOSE)
        host, unread = None, None
        try:
            host, scope["path"] = read_target(scope["raw_path"])
        except Problem as problem:
            unread = problem  # is told to who may ask
        if unread is None and scope["path"] in PROBES:
            return None
        if connections := scope.get("state", {}).get(CROWDED):
            rule = "are too many: close some, and try again later"
            return busy("connections", connections, rule, headers=CLOSE)
        if self._token is None:
            host = headers.get("host", "") if host is None else host
            if names_loopback(host):
                return unread
            rule = "must name this machine, as localhost does: a service without a token serves it alone"
            return Problem(HTTPStatus.MISDIRECTED_REQUEST, "Host", host, rule)
        return self._token.refusal(headers.get("authorization")) or unread


def answer(problem: Problem) -> Response:
    """A problem as the answer to its request."""
    return Response(problem.body(), int(problem.status), problem.headers, JSON)
