"""What the routes share: how answers and bodies are described and written."""

import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from partialfc.serving.service.body import FIELD, MULTIPART, TYPES
from partialfc.serving.service.problem import JSON, unprocessable

Far = Annotated[
    float | None,
    Query(gt=0, lt=1, description="False accept rate, one that the card has, whose threshold is used."),
]


async def known_options(request: Request) -> None:
    """Raises Problem, 422, for an option in the query that the route does not take, or that stands twice."""
    if not request.scope["query_string"]:
        return
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    taken = [each.alias for each in route.dependant.query_params]
    met: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name not in taken:
            rule = (
                f"must be one of {', '.join(taken)}" if taken else "must be left out: this route takes none"
            )
            raise unprocessable("option", name, rule)
        if name in met:
            raise unprocessable(name, value, "must be given once")
        met.add(name)


def prefers(accept: str, form: str) -> bool:
    """Whether a header `Accept` names this form of an answer, and likes JSON no more (RFC 9110, 12.5.1)."""
    weights = {}
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        weights[kind] = min((_weight(part) for part in parameters if part.startswith("q=")), default=1.0)
    ranges = (each for each in (JSON, "application/*", "*/*") if each in weights)
    return weights.get(form, 0.0) > 0 and weights[form] >= weights.get(next(ranges, ""), 0.0)


def _weight(parameter: str) -> float:
    """Of `q=NUMBER`, 0 for what is none."""
    return float(parameter[2:]) if re.fullmatch(r"q=[01](\.\d*)?", parameter) else 0.0


def body_of(what: str, *, raw: bool) -> dict[str, Any]:
    """OpenAPI's description of a body with images. raw: one may stand there alone."""
    binary = {"type": "string", "format": "binary"}
    files = {"type": "object", "properties": {FIELD: {"type": "array", "items": binary}}}
    content: dict[str, Any] = {MULTIPART: {"schema": files}}
    if raw:
        content |= {kind: {"schema": binary} for kind in TYPES}
    return {"requestBody": {"required": True, "description": what, "content": content}}


def json_answer(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """An answer as JSON."""
    return Response(answer.model_dump_json(), int(status), media_type=JSON)
