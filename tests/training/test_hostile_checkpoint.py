"""Resuming from a checkpoint that a stranger changed, or that is of another run: data, or one error."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partialfc.checkpoint.state import STATE, sealed
from partialfc.errors import CheckpointError
from tests import train_cases
from tests.train_cases import small_config
from tests.training.cases import run

State = dict[str, Any]
THREE = {"train": {"steps": 3}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The folder of a run of three steps, its state.json, and what that holds."""
    folder = tmp_path_factory.mktemp("run")
    train_cases.write_data(folder)
    run(small_config(folder, **THREE))
    (state,) = (folder / "run" / "checkpoints").glob(f"step-*/{STATE}")
    return folder, state, state.read_text()


@pytest.fixture
def resumed(finished: tuple[Path, Path, str]) -> Callable[..., Any]:
    """`resumed(edit, **sections)`: run with these sections, once the state was edited and sealed anew."""
    folder, path, text = finished

    def resume(edit: Callable[[State], object] = lambda state: None, **sections: Any) -> Any:
        state = json.loads(text.partition("\n")[2])
        edit(state)
        path.write_text(sealed(state))
        return run(small_config(folder, **(THREE | sections)))

    return resume


def test_a_resume_builds_what_the_users_config_names(resumed: Callable[..., Any]) -> None:
    """What the checkpoint names is compared with it, and neither imported nor called."""
    sys.modules.pop("this", None)
    assert resumed(lambda state: state["config"]["backbone"].update(name="this:s"))["step"] == 3
    assert resumed(lambda state: state.update(config={"backbone": {"name": "torch.hub:load"}}))["step"] == 3
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"name": "convnet"}, "step-00000003: it is of another network than convnet"),
        (
            {"name": "tests.train_cases:Tiny"},
            "step-00000003: it is of another network than tests.train_cases:Tiny",
        ),
    ],
)
def test_another_backbone_is_one_short_error(
    resumed: Callable[..., Any], backbone: dict[str, str], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        resumed(backbone={"options": {}, "embedding_size": 16} | backbone)
    assert len(str(caught.value).splitlines()) <= 6


@pytest.mark.parametrize(
    "key", ["head_optimizer", "step", "samples", "nonfinite_steps", "head_step", "best", "config"]
)
def test_a_state_without_what_a_run_saves_is_one_error(resumed: Callable[..., Any], key: str) -> None:
    for edit in (lambda state: state.pop(key), lambda state: state.update({key: "x"})):
        with pytest.raises(CheckpointError, match=r"step-00000003 does not hold what this run saves \("):
            resumed(edit)


@pytest.mark.parametrize(
    "edit",
    [
        lambda state: state.update(step=-5),
        lambda state: state.update(samples=10**30),
        lambda state: state.update(head_step=True),
        lambda state: state.update(overflow_steps="x"),
        lambda state: state.update(overflow_steps=-1),
        lambda state: state.update(metrics="x"),
        lambda state: state["head_optimizer"].update(owed_from="x"),
        lambda state: state["head_optimizer"].update(owed_from=10**9),
        lambda state: state["head_optimizer"].pop("owed_from"),
        lambda state: state["head_optimizer"].update(steps=-1),
        lambda state: state["head_optimizer"].update(steps="x"),
    ],
)
def test_a_state_that_lies_is_one_error(resumed: Callable[..., Any], edit: Callable[[State], object]) -> None:
    with pytest.raises(CheckpointError, match="does not hold what this run saves"):
        resumed(edit)


@pytest.mark.parametrize(
    "loss_scale",
    [
        "x",
        {},
        *({"scale": s, "growth_tracker": 0} for s in ("x", None, -1.0)),
        {"scale": 8.0, "growth_tracker": "x"},
    ],
    ids=str,
)
def test_a_loss_scale_that_is_none_is_one_error(resumed: Callable[..., Any], loss_scale: Any) -> None:
    with pytest.raises(CheckpointError, match="does not hold what this run saves"):
        resumed(lambda state: state.update(loss_scale=loss_scale), train={"steps": 3, "amp": "float16"})
