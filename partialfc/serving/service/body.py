"""The images of a request's body: raw, or parts of a multipart one; limited while it is read."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Self

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from partialfc.serving.service.limits import Limits
from partialfc.serving.service.problem import CLOSE, Problem, busy, unprocessable

TYPES = ("image/jpeg", "image/png", "image/webp", "image/bmp")
UNTOLD = ("", "application/octet-stream")  # of a part whose sender does not know
MULTIPART = "multipart/form-data"
FIELD = "images"  # of every part


class Held:
    """How many bytes of bodies are in memory, of all requests; at most `largest`."""

    def __init__(self, largest: int) -> None:
        self.largest, self.now = largest, 0

    def take(self, count: int) -> None:
        """Raises Problem, 503, where that is too much."""
        if self.now + count > self.largest:
            raise busy(
                "memory",
                f"{self.now} bytes of other requests",
                f"at most {self.largest} bytes of bodies are held at once: try again later",
            )
        self.now += count


class Body:
    """A request's body, within `with`: what it holds of `held` is given back at the end."""

    def __init__(self, content_type: str, length: str | None, limits: Limits, held: Held) -> None:
        self._kind, self._options = parse_options_header(content_type)
        self._length, self._limits, self._held = length, limits, held
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.now -= self._taken

    async def images(self, stream: AsyncIterator[bytes]) -> list[bytes]:
        """The encoded images, at least one. Raises Problem for a body that breaks a limit or a rule."""
        kind = self._kind.decode("latin-1")
        collected: _Raw | _Parts
        if kind in TYPES:
            largest = min(self._limits.max_image_bytes, self._limits.max_request_bytes)
            collected = _Raw()
        elif kind == MULTIPART:
            largest, collected = self._limits.max_request_bytes, _Parts(self._boundary(), self._limits)
        else:
            raise _unsupported("Content-Type", kind, (*TYPES, MULTIPART))
        length = None if self._length is None else int(self._length)  # the server has checked that it is one
        if length is not None and length > largest:
            raise _too_large("Content-Length", length, largest, close=length > self._limits.held_bytes)
        try:
            async with asyncio.timeout(self._limits.timeout):
                async for chunk in stream:
                    if self._taken + len(chunk) > largest:
                        raise _too_large("body", f"more than {largest} bytes", largest, close=True)
                    self._held.take(len(chunk))
                    self._taken += len(chunk)
                    collected.add(chunk)
        except TimeoutError as error:
            rule = f"must have come within {self._limits.timeout:g} seconds (--timeout)"
            value = f"{self._taken} bytes so far"
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, "body", value, rule, headers=CLOSE) from error
        return collected.finish()

    def _boundary(self) -> bytes:
        boundary = self._options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise unprocessable("Content-Type", MULTIPART, "must give a boundary of 1 to 70 characters")
        return boundary


class _Raw:
    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        self._data += chunk

    def finish(self) -> list[bytes]:
        return [bytes(self._data)]


class _Parts:
    """The files of a multipart body."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        self._limits = limits
        self._images: list[bytearray] = []
        self._header: tuple[bytearray, bytearray] = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_begin": self._header_begins,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._part_begins,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def add(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise unprocessable("body", str(error), "must be well-formed multipart/form-data") from error

    def finish(self) -> list[bytes]:
        if not self._ended:
            raise unprocessable("body", "cut short", "must end with the boundary of its multipart/form-data")
        if not self._images:
            raise unprocessable(FIELD, 0, f"must be 1 to {self._limits.max_images} files")
        return [bytes(image) for image in self._images]

    def _header_begins(self) -> None:
        self._header = bytearray(), bytearray()

    def _header_ends(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)

    def _part_begins(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field != FIELD:
            rule = f"must be {FIELD}, for each file; options go into the query"
            raise unprocessable("field", field or "not given", rule)
        if b"filename" not in options:
            raise unprocessable(
                field, "a part without a file name", "must be a file; options go into the query"
            )
        if len(self._images) == self._limits.max_images:
            rule = f"must be 1 to {self._limits.max_images} files (--max-images)"
            raise unprocessable(field, f"more than {self._limits.max_images}", rule)
        kind = parse_options_header(self._headers.get(b"content-type", b""))[0].decode("latin-1")
        if kind not in (*TYPES, *UNTOLD):
            raise _unsupported(field, kind, TYPES)
        self._images.append(bytearray())

    def _data(self, data: bytes, start: int, end: int) -> None:
        image = self._images[-1]
        image += data[start:end]
        if len(image) > self._limits.max_image_bytes:
            index, largest = len(self._images) - 1, self._limits.max_image_bytes
            raise _too_large(f"image {index}", f"more than {largest} bytes", largest)

    def _end(self) -> None:
        self._ended = True


def _too_large(field: str, value: object, largest: int, *, close: bool = False) -> Problem:
    """413. close: also the connection; else what is still sent is thrown away, and then the client reads."""
    rule = f"must be at most {largest} bytes (--max-image-bytes, --max-request-bytes)"
    headers = CLOSE if close else None
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, field, value, rule, headers=headers)


def _unsupported(field: str, kind: str, allowed: tuple[str, ...]) -> Problem:
    rule = f"must be one of {', '.join(allowed)}"
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, field, kind or "not given", rule)
