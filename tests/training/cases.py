"""Whole runs for the tests of the training loop, and what they left behind."""

from pathlib import Path
from typing import Any

import torch

from partialfc.distributed.device import local_device
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer


def run(config: Any) -> dict[str, Any]:
    """A whole run on this rank; what it left behind."""
    trainer = Trainer(config, local_device(config.train.device))
    with trainer.running():
        finished = trainer.run()
    trainer.objective.optimizers["head"].flush()
    return {
        "finished": finished,
        "step": trainer.state.step,
        "samples": trainer.state.samples,
        "rows": trainer.objective.head.weight.detach().clone(),
        "bias": None if trainer.objective.head.bias is None else trainer.objective.head.bias.detach().clone(),
        "backbone": {name: t.clone() for name, t in trainer.objective.backbone.state_dict().items()},
    }


def run_and_count_compilations(config: Any) -> tuple[dict[str, Any], int]:
    """A whole run on this rank, and how many graphs torch.compile made for it."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    result = run(config)
    return result, torch._dynamo.utils.counters["stats"]["unique_graphs"]


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_metrics(folder / "run") if record["event"] == "train"]


def tensor_files(folder: Path) -> dict[str, bytes]:
    """What each rank wrote of its tensors to the newest checkpoint, by the file's name."""
    newest = max((folder / "run" / "checkpoints").glob("step-*"))
    return {path.name: path.read_bytes() for path in newest.glob("*.distcp")}


def assert_same_end(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a["rows"], b["rows"])
        assert a.get("bias") is None or torch.equal(a["bias"], b["bias"])
        for name, tensor in a["backbone"].items():
            assert torch.equal(tensor, b["backbone"][name]), name


def moved(folder: Path, name: str) -> Path:
    """A second run folder beside the first one's data."""
    other = folder / name
    other.mkdir()
    for file in ("train.rec", "train.idx", "property"):
        (other / file).symlink_to((folder / file).resolve())
    return other


INTERRUPTED = {"name": "tests.train_cases:Interrupted", "options": {"at": 7}}
EXACT = {
    "backbone": {"name": "tests.train_cases:Tiny", "options": {"double": True}},
    "head": {"sample_rate": 1.0, "weight_dtype": "float64", "compute_dtype": "float64"},
}


def stop_after_seven(config: Any) -> None:
    trainer = Trainer(config, torch.device("cpu"))
    with trainer.running():
        while trainer.state.step < 7:
            trainer._train_step()
            trainer._log()
        trainer._save()
