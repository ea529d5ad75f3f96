"""Limits, thresholds and tokens: what is taken, and what is refused when the service starts."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from partialfc.errors import ConfigError
from partialfc.serving.service.body import Body, Held
from partialfc.serving.service.limits import Limits
from partialfc.serving.service.problem import Problem
from partialfc.serving.service.thresholds import Thresholds
from partialfc.serving.service.token import VARIABLE, Token, is_loopback, names_loopback, read_token
from tests.docker.promql import service_families
from tests.paths import ROOT
from tests.serving.service.cases import CARD, TOKEN


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"max_images": 300}, "--queue is 256: it must be at least --max-images, 300"),
        ({"max_batch": 0}, "--max-batch is 0: it must be above 0"),
        ({"timeout": float("nan")}, "--timeout is nan"),
        ({"timeout": float("inf")}, "--timeout is inf: it must be at most 86400, a day"),
        ({"max_wait_ms": -1}, "--max-wait-ms is -1: it must be 0 to 1000"),
    ],
    ids=["queue", "batch", "timeout", "for-ever", "wait"],
)
def test_a_limit_that_is_none(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Limits(**wrong)  # type: ignore[arg-type]


def test_one_image_may_have_as_many_bytes_as_a_body() -> None:
    """Else it would be sent in vain, and told to come again later."""
    limits = Limits(max_image_bytes=100, max_request_bytes=10)

    async def sent() -> None:
        with Body("image/png", "11", limits, Held(limits.held_bytes)) as body:
            await body.images(pieces())

    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(11)

    with pytest.raises(Problem, match=r"Content-Length is 11: must be at most 10 bytes"):
        asyncio.run(sent())


def test_the_lowest_rate_of_the_card_is_taken_unless_another_is_asked_for() -> None:
    thresholds = Thresholds(CARD)
    assert (thresholds.choose(None).threshold, thresholds.choose(None).far) == (0.6, 1e-3)
    assert thresholds.choose(1e-2).threshold == 0.3
    assert Thresholds(CARD, far=1e-2).choose(None).threshold == 0.3
    assert Thresholds(CARD, fixed=0.4).choose(None).reached(0.4) is True
    assert Thresholds(CARD, fixed=0.4).choose(1e-3).threshold == 0.6
    with pytest.raises(Problem, match=r"far is 0.1: must be one that the model's card has: 0.001, 0.01"):
        thresholds.choose(0.1)


def test_a_card_without_thresholds_says_nothing_of_sameness() -> None:
    chosen = Thresholds(replace(CARD, thresholds=())).choose(None)
    assert (chosen.threshold, chosen.far, chosen.reached(0.9)) == (None, None, None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"fixed": 0.5, "far": 1e-3}, "--threshold and --far are both given"),
        ({"fixed": 2.0}, "--threshold is 2: it must be a cosine, -1 to 1"),
        ({"fixed": float("nan")}, "--threshold is nan"),
    ],
    ids=["both", "two", "nan"],
)
def test_a_threshold_that_is_none(given: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Thresholds(CARD, **given)


def test_the_token_is_that_of_the_file_else_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert read_token(None) is None
    monkeypatch.setenv(VARIABLE, TOKEN)
    (tmp_path / "token").write_text("z" * 32 + "\n")
    from_file, from_variable = read_token(tmp_path / "token"), read_token(None)
    assert from_variable is not None
    assert from_file is not None
    assert from_variable.refusal(f"Bearer {TOKEN}") is None
    assert from_file.refusal("Bearer " + "z" * 32) is None
    assert from_file.refusal(f"Bearer {TOKEN}") is not None


@pytest.mark.parametrize(
    ("given", "says", "error"),
    [
        (None, "not given", False),
        ("", "of another scheme", False),
        (TOKEN, "of another scheme", False),
        (f"Basic {TOKEN}", "of another scheme", False),
        ("Bearer", "Bearer with another token", True),
        (f"Bearer {TOKEN}x", "Bearer with another token", True),
        (f"bearer {TOKEN[:-1]}", "Bearer with another token", True),
        ("Bearer é", "Bearer with another token", True),
    ],
    ids=["none", "empty", "bare", "basic", "bearer", "longer", "shorter", "latin"],
)
def test_a_refusal_says_what_is_wrong_and_nothing_of_a_token(
    given: str | None, says: str, error: bool
) -> None:
    refused = Token(TOKEN, origin=VARIABLE).refusal(given)
    assert refused is not None
    assert (refused.status, refused.value) == (401, says)
    challenge = refused.headers["WWW-Authenticate"]
    assert challenge == 'Bearer realm="partialfc"' + (', error="invalid_token"' if error else "")
    assert TOKEN[:-1] not in str(refused)


def test_the_scheme_may_be_in_small_letters() -> None:
    assert Token(TOKEN, origin=VARIABLE).refusal(f"bearer {TOKEN}") is None


@pytest.mark.parametrize("text", ["", "short", "a token of many words", "é" * 20, "line\n" * 8])
def test_a_token_that_is_easily_guessed_or_cannot_be_sent(text: str) -> None:
    with pytest.raises(ConfigError, match=r"PARTIALFC_TOKEN: the token has \d+ characters: .* `openssl rand"):
        Token(text, origin=VARIABLE)


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1:8000", "[::1]", "[::1]:8000"])
def test_names_of_this_machine(host: str) -> None:
    assert names_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "10.0.0.1:80", "::1:80", "[::2]"]
)
def test_names_that_others_may_have(host: str) -> None:
    assert not names_loopback(host)


def test_addresses_that_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "fe80::1%eth0")))


def test_every_metric_is_explained() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    assert [each.name for each in service_families() if f"| `{each.name}` |" not in page] == []
