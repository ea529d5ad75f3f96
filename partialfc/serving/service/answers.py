"""What the routes share: how answers and bodies are described and written."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel

from partialfc.serving.service.body import MULTIPART, TYPES

Far = Annotated[
    float | None,
    Query(gt=0, lt=1, description="False accept rate, one that the card has, whose threshold is used."),
]


def body_of(what: str, *, raw: bool) -> dict[str, Any]:
    """OpenAPI's description of a body with images. raw: one may stand there alone."""
    binary = {"type": "string", "format": "binary"}
    files = {"type": "object", "properties": {"images": {"type": "array", "items": binary}}}
    content: dict[str, Any] = {MULTIPART: {"schema": files}}
    if raw:
        content |= {kind: {"schema": binary} for kind in TYPES}
    return {"requestBody": {"required": True, "description": what, "content": content}}


def json_answer(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """An answer as JSON."""
    return Response(answer.model_dump_json(), int(status), media_type="application/json")
