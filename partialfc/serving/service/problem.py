"""The answer to a request that breaks a rule: what, its value, the rule."""

import json
from collections.abc import Mapping
from http import HTTPStatus

JSON = "application/json"
CLOSE = {"Connection": "close"}
LONGEST_VALUE = 200  # characters of a value that are repeated to who sent it
RETRY_SECONDS = 1  # what a client that met a full service is asked to wait


class Problem(Exception):
    """Ends a request with a status of 4xx or 5xx.

    field: the part of the request, or of the service, that breaks the rule. value: what it is. rule: what it
    must be, and what to do.
    """

    def __init__(
        self,
        status: HTTPStatus,
        field: str,
        value: object,
        rule: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{field} is {value}: {rule}")
        self.status, self.field, self.value, self.rule = status, field, value, rule
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """JSON: {"error": {"status", "field", "value", "rule"}}."""
        value = self.value if isinstance(self.value, int | float | None) else str(self.value)[:LONGEST_VALUE]
        error = {"status": int(self.status), "field": self.field, "value": value, "rule": self.rule}
        return json.dumps({"error": error}).encode()


def unprocessable(field: str, value: object, rule: str) -> Problem:
    """422: the request is understood, and breaks a rule."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, field, value, rule)


def busy(field: str, value: object, rule: str, *, headers: Mapping[str, str] | None = None) -> Problem:
    """503 with the time after which another try may find room."""
    all_headers = {"Retry-After": str(RETRY_SECONDS), **(headers or {})}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, field, value, rule, headers=all_headers)
