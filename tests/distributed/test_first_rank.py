"""What rank 0 does for all ranks: done once, and its result or its failure is every rank's."""

from pathlib import Path

import pytest

import partialfc
from partialfc.distributed import World
from partialfc.distributed.first_rank import on_first_rank


def write(path: str) -> list[object]:
    """Append a line, on one rank; what every rank gets."""

    def action() -> list[object]:
        with Path(path).open("a") as file:
            file.write("done\n")
        return [1, "ü", None]

    return on_first_rank(World.of(), action)


def refuse(_: str) -> None:
    def action() -> None:
        raise partialfc.ConfigError("run.dir is wrong")

    on_first_rank(World.of(), action)


@pytest.mark.parametrize("world_size", [1, 3])
def test_it_is_done_once_and_every_rank_gets_the_result(run_ranks, tmp_path, world_size):
    assert run_ranks(write, world_size, str(tmp_path / "file")) == [[1, "ü", None]] * world_size
    assert (tmp_path / "file").read_text() == "done\n"


@pytest.mark.parametrize("world_size", [1, 3])
def test_a_failure_is_every_ranks(rank_outcomes, tmp_path, world_size):
    for outcome in rank_outcomes(write, world_size, str(tmp_path / "nowhere" / "file")):
        assert isinstance(outcome, FileNotFoundError)
        assert str(outcome.filename) == str(tmp_path / "nowhere" / "file")
    for outcome in rank_outcomes(refuse, world_size, ""):
        assert isinstance(outcome, partialfc.ConfigError)
        assert str(outcome) == "run.dir is wrong"
