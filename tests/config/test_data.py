"""The section data."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc import ConfigError
from partialfc.cli import arguments
from partialfc.config import parse_config
from partialfc.data.images import header
from partialfc.training.builders.head import build_head
from tests.config.cases import failure, small
from tests.pretend.machine import machine


@pytest.mark.parametrize("bad", ["2", "true", "1.0", "'1'", "null"])
def test_channels_are_one_or_three(bad: str) -> None:
    assert re.search(r"data\.channels: must be 1 or 3, got", failure(f"data.channels={bad}"))
    assert small("data.channels=1").data.channels == 1


def test_the_bound_on_pixels_is_one_number_wherever_it_is_written() -> None:
    """Only `data` reads images, and a command's help is not worth importing it for."""
    assert small().data.max_pixels == header.MAX_PIXELS == arguments.MAX_PIXELS
    assert "data.max_pixels: " in failure("data.max_pixels=0")


def test_class_ids_are_exact_in_float64() -> None:
    assert "data.num_classes: must be less than or equal to 9007199254740992" in failure(
        "data.num_classes=9007199254740993"
    )


@pytest.mark.parametrize("num_classes", [2**44, 2**53])
def test_centres_beyond_any_memory_say_what_would_fit(num_classes: int) -> None:
    with pytest.raises(ConfigError, match=rf"data\.num_classes is {num_classes:,}: .*partialfc plan CONFIG"):
        build_head(
            small().head, embedding_size=512, num_classes=num_classes, seed=0, device=torch.device("cpu")
        )


def build_beyond_its_memory() -> None:
    machine.hollow = True
    try:
        build_head(
            small().head, embedding_size=512, num_classes=10**8, seed=0, device=torch.device("pretend")
        )
    finally:
        machine.hollow = False


def test_centres_beyond_an_accelerators_memory_say_so(on_pretend: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"num_classes is 100,000,000: .*memory on pretend:?0?; `partialfc"):
        on_pretend(build_beyond_its_memory)


def test_batches_of_identities_need_to_know_how_many_images_each_has() -> None:
    assert small("data.sampler=identities", "data.images_per_identity=4").data.images_per_identity == 4
    assert "data: sampler: identities needs images_per_identity, such as 4" in failure(
        "data.sampler=identities"
    )
    assert "images_per_identity is 4, but only sampler: identities uses it; sampler is shuffle" in failure(
        "data.images_per_identity=4"
    )
    assert "data.images_per_identity: must be greater than or equal to 1, got 0" in failure(
        "data.sampler=identities", "data.images_per_identity=0"
    )
    assert "data.sampler: must be 'shuffle', 'identities' or 'half_identities', got 'pk'" in failure(
        "data.sampler=pk"
    )


def test_a_batch_is_divided_by_its_images_of_an_identity() -> None:
    assert (
        "data.images_per_identity: must divide train.batch_size, 128, got 5; a batch of 125 would have whole"
        in failure("data.sampler=identities", "data.images_per_identity=5")
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("a/faces.rec", Path("a/faces.rec"), id="path"),
        pytest.param("[a.rec, b]", (Path("a.rec"), Path("b")), id="list"),
        pytest.param("s3://set/a-{00..17}.tar", "s3://set/a-{00..17}.tar", id="URL"),
        pytest.param("[a.rec, 'https://host/b.tar']", (Path("a.rec"), "https://host/b.tar"), id="both"),
    ],
)
def test_the_images_are_a_path_a_url_or_several(written: str, read: Any) -> None:
    config = small(f"data.train={written}")
    assert config.data.train == read
    assert config.data.places == (read if isinstance(read, tuple) else (read,))
    assert parse_config(config.model_dump(mode="json"), [], "again") == config


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        pytest.param("3", "must be a path, a URL or a list of them, got 3", id="number"),
        pytest.param("[a, 3]", r"must be a path, .* got \['a', 3\]", id="number in a list"),
        pytest.param("[]", r"must name at least one source, got \[\]", id="empty list"),
        pytest.param("[a, '~/b']", "without the '~'", id="tilde"),
        pytest.param("{a: b}", "must be a path, a URL or a list of them", id="mapping"),
    ],
)
def test_what_names_no_images_is_refused(bad: str, says: str) -> None:
    assert re.search(rf"data\.train: .*{says}", failure(f"data.train={bad}"))
