"""The routes: HTTP in, HTTP out; what they need is in `service`."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from partialfc import __version__
from partialfc.serving.rows import cosine
from partialfc.serving.service import gallery_routes
from partialfc.serving.service.answers import Far, body_of, json_answer, known_options, prefers
from partialfc.serving.service.gate import METHOD, Gate, answer
from partialfc.serving.service.problem import JSON, Problem, unprocessable
from partialfc.serving.service.searcher import Searcher
from partialfc.serving.service.service import CLIENT_CLOSED, Service
from partialfc.serving.service.token import Token

NPY = "application/x-npy"
routes = APIRouter(dependencies=[Depends(known_options)])


class Embedded(BaseModel):
    """Embeddings of norm 1, in the order of the images."""

    model: str
    embeddings: list[list[float]]


class Verified(BaseModel):
    """How alike two images are; `same` is null where the model's card has no threshold."""

    cosine: float
    threshold: float | None
    far: float | None
    same: bool | None


@routes.post("/embed", response_model=Embedded, openapi_extra=body_of("One image, or files.", raw=True))
async def embed(request: Request) -> Response:
    """The embedding of each image; as a NumPy file, float32 [n, D], where `Accept` is application/x-npy."""
    service: Service = request.app.state.service
    rows = await service.embed(request)
    if prefers(", ".join(request.headers.getlist("accept")), NPY):
        file = io.BytesIO()
        np.save(file, rows)
        return Response(file.getvalue(), media_type=NPY)
    return json_answer(Embedded.model_construct(model=service.model.card.name, embeddings=rows.tolist()))


@routes.post("/verify", response_model=Verified, openapi_extra=body_of("Two files.", raw=False))
async def verify(request: Request, far: Far = None) -> Response:
    """Whether two images show the same."""
    service: Service = request.app.state.service
    chosen = service.thresholds.choose(far)
    first, second = await service.embed(request, images=2)
    alike = cosine(first, second)
    return json_answer(
        Verified(cosine=alike, threshold=chosen.threshold, far=chosen.far, same=chosen.reached(alike))
    )


@routes.get("/card")
async def card(request: Request) -> Response:
    """The model's card."""
    service: Service = request.app.state.service
    return Response(service.model.card.to_json(), media_type=JSON)


@routes.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The routes as OpenAPI."""
    app: FastAPI = request.app
    return Response(json.dumps(app.openapi()), media_type=JSON)


@routes.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@routes.get("/readyz")
async def readyz(request: Request) -> dict[str, str]:
    """Images are embedded."""
    service: Service = request.app.state.service
    if not service.ready:
        rule = "must run: start the service again"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "inference", "ended", rule)
    return {"status": "ready"}


@routes.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus's text format."""
    service: Service = request.app.state.service
    return Response(generate_latest(service.numbers.registry), media_type=CONTENT_TYPE_LATEST)


def build_app(service: Service, searcher: Searcher | None, *, token: Token | None) -> Gate:
    """The application behind its gate; it closes the service and the gallery when it ends.

    Its pages /docs and /redoc would load scripts from elsewhere, so there are none; /openapi.json there is.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()
        if searcher is not None:
            searcher.close()

    app = FastAPI(
        title="partialfc", version=__version__, openapi_url=None, redirect_slashes=False, lifespan=lifespan
    )
    app.state.service, app.state.searcher, app.state.may_change = service, searcher, token is not None
    app.include_router(routes)
    app.include_router(gallery_routes.routes)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _wrong_option)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _broken)
    return Gate(app, token=token, numbers=service.numbers)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer(error)


async def _wrong_option(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return answer(unprocessable(field, first.get("input"), first["msg"]))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    every = (*routes.routes, *gallery_routes.routes.routes)
    known = [route for route in every if isinstance(route, APIRoute)]
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        methods = {
            method for route in known if route.path_regex.match(path) for method in route.methods or ()
        }
        *most, last = sorted(methods | ({"HEAD"} if "GET" in methods else set()))
        rule = f"must be {', '.join(most)}{' or ' if most else ''}{last} for {path}"
        headers = {"Allow": ", ".join([*most, last])}
        return answer(Problem(HTTPStatus(405), "method", request.scope[METHOD], rule, headers=headers))
    paths = ", ".join(sorted({route.path_format for route in known}))
    return answer(Problem(HTTPStatus(error.status_code), "path", path, f"must be one of {paths}"))


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)


async def _broken(_: Request, error: Exception) -> Response:
    return answer(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "service", type(error).__name__, "see its log"))
