"""What a request asks for: its path, from the bytes that the client has sent."""

import re
from urllib.parse import unquote_to_bytes

from partialfc.serving.service.problem import Problem, unprocessable

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE)


def read_target(raw: bytes) -> tuple[str | None, str]:
    """The target of a request, without its query -> its host, where it names one, and its path.

    A target may be a whole address (RFC 9112, 3.2.2), whose host then counts in place of the header's. A name
    in a path is never guessed: a byte that is not UTF-8 would be replaced by the same sign as any other one,
    and a pattern's end matches before a line break.

    Raises Problem, 422, for a path that is not UTF-8 or has a line break.
    """
    absolute = _ABSOLUTE.fullmatch(raw)
    host = None if absolute is None else absolute[1].decode("latin-1")
    path = unquote_to_bytes(raw if absolute is None else absolute[2] or b"/")
    try:
        text = path.decode()
    except UnicodeDecodeError as error:
        raise _refused(raw, "must be UTF-8, percent-encoded") from error
    if "\n" in text:
        raise _refused(raw, "must have no line break")
    return host, text


def _refused(raw: bytes, rule: str) -> Problem:
    return unprocessable("path", raw.decode("latin-1"), rule)
