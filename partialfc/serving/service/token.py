"""The word that a client must know, and which clients need none."""

import hmac
import ipaddress
import os
import re
from http import HTTPStatus
from pathlib import Path

from partialfc.errors import ConfigError
from partialfc.serving.service.problem import Problem

VARIABLE = "PARTIALFC_TOKEN"
SHORTEST = 16  # characters
LARGEST_FILE = 4096  # bytes
_ALLOWED = re.compile(r"[A-Za-z0-9._~+/=-]+")  # what may follow "Bearer", RFC 6750


class Token:
    """A token, compared in a time that does not tell how much of another one is right."""

    def __init__(self, text: str, *, origin: str) -> None:
        if len(text) < SHORTEST or not _ALLOWED.fullmatch(text):
            raise ConfigError(
                f"{origin}: the token has {len(text)} characters: it must have at least {SHORTEST}, of "
                "letters, digits and ._~+/=- alone, such as `openssl rand -hex 32` prints"
            )
        self._expected = text.encode()

    def refusal(self, authorization: str | None) -> Problem | None:
        """401 unless a header `Authorization` is `Bearer TOKEN` (RFC 6750); nothing of it is repeated."""
        scheme, _, given = (authorization or "").partition(" ")
        challenge = 'Bearer realm="partialfc"'
        if authorization is None:
            value = "not given"
        elif scheme.lower() != "bearer":
            value = "of another scheme"
        elif not hmac.compare_digest(given.strip().encode("latin-1"), self._expected):
            value, challenge = "Bearer with another token", f'{challenge}, error="invalid_token"'
        else:
            return None
        rule = "must be `Bearer TOKEN` with the token of this service"
        headers = {"WWW-Authenticate": challenge}
        return Problem(HTTPStatus.UNAUTHORIZED, "Authorization", value, rule, headers=headers)


def read_token(file: Path | None) -> Token | None:
    """The token of a file, else of the environment's PARTIALFC_TOKEN, else None. Raises ConfigError."""
    if file is not None:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_FILE).decode("utf-8", "replace")
        return Token(text.strip(), origin=f"--token-file {file}")
    variable = os.environ.get(VARIABLE)
    return None if variable is None else Token(variable.strip(), origin=VARIABLE)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address, or the name of one."""
    try:
        return ipaddress.ip_address(address.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return address == "localhost"


def names_loopback(host: str) -> bool:
    """Whether a header `Host`, NAME or NAME:PORT, names this machine as only itself is named.

    A page of another site whose name was made to lead here (DNS rebinding) sends that site's name.
    """
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:\d*)?", host)
    return found is not None and is_loopback(found[1])
