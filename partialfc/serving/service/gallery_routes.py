"""The routes of a gallery: who is it, and additions and removals."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel

from partialfc.serving.gallery.changes import Change
from partialfc.serving.gallery.names import RULE, is_name
from partialfc.serving.service.answers import Far, body_of, json_answer, known_options
from partialfc.serving.service.gallery import Match
from partialfc.serving.service.problem import Problem, unprocessable
from partialfc.serving.service.searcher import MOST, Searcher
from partialfc.serving.service.service import Service

K = Annotated[int, Query(ge=1, le=MOST, description="How many names to answer.")]
Name = Annotated[str, Path(description=f"Of a person or thing; {RULE}.")]
routes = APIRouter(dependencies=[Depends(known_options)])


class Searched(BaseModel):
    """Who is in an image: `name`, null for nobody, and the nearest names, the best one first.

    Without a threshold `name` is null; decide by the scores.
    """

    name: str | None
    threshold: float | None
    far: float | None
    found: list[Match]


class Counted(BaseModel):
    """How many images a gallery has."""

    images: int


class Named(BaseModel):
    """How many images a name has, or, for a change, how many were added or removed."""

    name: str
    images: int


@routes.post("/search", response_model=Searched, openapi_extra=body_of("One image.", raw=True))
async def search(request: Request, k: K = 5, far: Far = None) -> Response:
    """Who it is: the nearest names of the gallery."""
    service, searcher = _opened(request)
    chosen = service.thresholds.choose(far)
    (row,) = await service.embed(request, images=1)
    matches = await searcher.search(row, k)
    known = bool(matches) and chosen.reached(matches[0].score) is True
    name = matches[0].name if known else None
    return json_answer(Searched(name=name, threshold=chosen.threshold, far=chosen.far, found=matches))


@routes.get("/gallery", response_model=Counted)
async def count(request: Request) -> Response:
    """How many images the gallery has."""
    _, searcher = _opened(request)
    return json_answer(Counted(images=searcher.rows))


@routes.get("/gallery/{name:path}", response_model=Named)
async def look_up(request: Request, name: Name) -> Response:
    """How many images of a name the gallery has."""
    _, searcher = _opened(request)
    return json_answer(Named(name=name, images=await _count(searcher, name)))


@routes.post(
    "/gallery/{name:path}",
    response_model=Named,
    status_code=HTTPStatus.CREATED,
    openapi_extra=body_of("Images of one person or thing.", raw=True),
)
async def add(request: Request, name: Name) -> Response:
    """Add images under a name; they are on the disk when this is answered."""
    service, searcher = _opened(request, change=True)
    if not is_name(name):
        raise unprocessable("name", repr(name), RULE)
    rows = await service.embed(request)
    images = await searcher.change(Change(name, rows))
    return json_answer(Named(name=name, images=images), HTTPStatus.CREATED)


@routes.delete("/gallery/{name:path}", response_model=Named)
async def remove(request: Request, name: Name) -> Response:
    """Remove all images of a name; when this is answered they are found no more, nor after a restart."""
    _, searcher = _opened(request, change=True)
    await _count(searcher, name)
    images = await searcher.change(Change(name, None))
    return json_answer(Named(name=name, images=images))


async def _count(searcher: Searcher, name: str) -> int:
    """The images of a name. Raises Problem, 404, where it has none."""
    images = await searcher.count(name)
    if not images:
        raise Problem(HTTPStatus.NOT_FOUND, "name", name, "must be one that the gallery has")
    return images


def _opened(request: Request, *, change: bool = False) -> tuple[Service, Searcher]:
    """What the routes need. change: whether the gallery is to be changed. Raises Problem where it may not."""
    service: Service = request.app.state.service
    searcher: Searcher | None = request.app.state.searcher
    if searcher is None:
        rule = "must be given when the service is started: --gallery"
        raise Problem(HTTPStatus.NOT_FOUND, "gallery", "none", rule)
    if change and not request.app.state.may_change:
        rule = "must be set when the service is started, before it takes changes: --token-file"
        raise Problem(HTTPStatus.FORBIDDEN, "token", "none", rule)
    return service, searcher
