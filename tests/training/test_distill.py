"""`objective: {name: distill}`: trains by a teacher, beside the head or alone, on any ranks, and resumes."""

import logging
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

import partialfc
from partialfc.backbones import build_backbone
from partialfc.checkpoint import find_checkpoint
from partialfc.config import Config
from partialfc.deploy.export.export import Request, export_model
from partialfc.deploy.export.graph import interface
from partialfc.deploy.trained import load_trained
from partialfc.distributed.device import local_device
from partialfc.distributed.world import World
from partialfc.metrics.run_log import read_metrics
from partialfc.training.loop import Trainer
from tests.train_cases import SIZE, small_config
from tests.training.cases import EXACT, INTERRUPTED, losses, moved
from tests.training.test_accelerator import faults_of_steps, run_both

CONVNET = {"name": "convnet", "options": {"widths": [8], "blocks": [1]}}


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    """The folder of a run that learned the data well: of another backbone, with the same embedding size."""
    place = tmp_path_factory.mktemp("teacher")
    config = small_config(data, f"run.dir={place}/run", backbone=CONVNET, train={"steps": 40})
    train(config)
    return place / "run"


def train(config: Config) -> dict[str, Any]:
    """A whole run on this rank; what it left behind."""
    trainer = Trainer(config, local_device(config.train.device))
    with trainer.running():
        finished = trainer.run()
    state = trainer.objective.backbone.state_dict()
    return {"finished": finished, "backbone": {name: tensor.clone() for name, tensor in state.items()}}


def taught(folder, teacher, *overrides: str, alone: bool = False, **sections: Any) -> Config:
    objective = {"name": "distill", "teacher_from": str(teacher), "weight": 7.0, "alone": alone}
    return small_config(folder, *overrides, objective=objective, **sections)


def lines(folder) -> list[dict[str, Any]]:
    return [record for record in read_metrics(folder / "run") if record["event"] == "train"]


ways = pytest.mark.parametrize("alone", [False, True], ids=["beside_the_head", "alone"])
kinds = pytest.mark.parametrize("loss", ["angular", "l2"])


@ways
@kinds
def test_the_student_comes_to_the_teacher(folder, teacher, alone, loss):
    weight = {"angular": 7.0, "l2": 0.3}[loss]
    overrides = (f"objective.loss={loss}", f"objective.weight={weight}", "optimizer.lr=0.05")
    train(taught(folder, teacher, *overrides, alone=alone, train={"steps": 40}))
    told = lines(folder)
    assert sum(line["loss_distillation"] for line in told[-5:]) < 0.6 * sum(
        line["loss_distillation"] for line in told[:5]
    )
    assert ("loss_head" in told[0]) != alone
    for line in told:
        whole = line.get("loss_head", 0.0) + weight * line["loss_distillation"]
        assert line["loss"] == pytest.approx(whole, rel=1e-5)


@ways
def test_any_number_of_ranks_trains_alike(run_ranks, folder, teacher, alone):
    """24 samples over 2 ranks, 25 over 3, in float64."""
    for batch, world_sizes in ((24, (1, 2)), (25, (1, 3))):
        curves = []
        for world_size in world_sizes:
            place, length = moved(folder, f"{batch}-{world_size}"), {"batch_size": batch, "steps": 6}
            run_ranks(train, world_size, taught(place, teacher, alone=alone, **EXACT, train=length))
            curves.append([(line["loss"], line["loss_distillation"]) for line in lines(place)])
        assert torch.tensor(curves[1]) == pytest.approx(torch.tensor(curves[0]), abs=1e-9)


@pytest.mark.parametrize(
    ("alone", "world_size", "length"),
    [(False, 1, {}), (True, 2, {"accumulation": 2, "amp": "bfloat16"}), (False, 2, {"amp": "float16"})],
    ids=["beside_the_head", "alone_two_ranks_bfloat16", "beside_two_ranks_float16"],
)
def test_a_run_that_was_stopped_ends_bit_for_bit_as_one_that_was_not(
    run_ranks, folder, teacher, alone, world_size, length
):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    never, at = INTERRUPTED | {"options": {"at": 10**9}}, 7 * length.get("accumulation", 1)
    stops = INTERRUPTED | {"options": {"at": at}}
    given = {"alone": alone, "train": length}
    expected = run_ranks(train, world_size, taught(whole, teacher, **given, backbone=never))
    stopped = run_ranks(train, world_size, taught(parts, teacher, **given, backbone=stops))
    assert not any(result["finished"] for result in stopped)
    resumed = run_ranks(train, world_size, taught(parts, teacher, **given, backbone=never))
    assert losses(parts) == losses(whole)
    for one, other in zip(expected, resumed, strict=True):
        assert all(torch.equal(one["backbone"][name], other["backbone"][name]) for name in one["backbone"])


def test_the_teacher_stays_as_it_is_and_out_of_the_checkpoint(folder, teacher):
    trainer = Trainer(taught(folder, teacher), torch.device("cpu"))
    before = {name: t.clone() for name, t in trainer.objective.lesson.teacher.network.state_dict().items()}
    with trainer.running():
        trainer.run()
    network = trainer.objective.lesson.teacher.network
    assert not network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    held = trainer.state.tensors()
    assert not any("teacher" in name or "layers.3" in name for name in [*held.replicated, *held.sharded])
    assert trainer.state.values()["teacher"] == {
        "source": str(find_checkpoint(teacher).resolve()),
        "digest": trainer.objective.lesson.teacher.digest,
    }


def test_the_student_begins_as_it_would_without_a_teacher(folder, teacher):
    states = []
    for config in (small_config(folder), taught(folder, teacher)):
        trainer = Trainer(config, torch.device("cpu"))
        trainer.loader.close()
        states.append(
            trainer.objective.backbone.state_dict() | {"head": trainer.objective.head.weight.detach()}
        )
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_a_file_of_weights_is_a_teacher(folder, teacher):
    network = build_backbone(
        "convnet", embedding_size=16, image_size=SIZE, channels=1, options=CONVNET["options"]
    )
    torch.save(network.state_dict(), folder / "weights.pt")
    with pytest.raises(
        partialfc.ConfigError, match=r"objective.teacher is missing: .* add objective.teacher.na"
    ):
        train(taught(folder, folder / "weights.pt"))
    wrong = "objective.teacher={name: convnet, options: {widths: [0]}}"
    with pytest.raises(
        partialfc.ConfigError,
        match=r"^objective\.teacher: backbone 'convnet': objective\.teacher\.options\.widths=\[0\]: must",
    ):
        train(taught(folder, folder / "weights.pt", wrong))
    train(taught(folder, folder / "weights.pt", f"objective.teacher={CONVNET}"))
    assert lines(folder)[-1]["loss_distillation"] > 0
    with pytest.raises(
        partialfc.ConfigError, match=r"objective.teacher is given, .* leave objective.teacher out"
    ):
        train(taught(folder, teacher, f"objective.teacher={CONVNET}"))


def exported(teacher, path, *, card: bool = True) -> Path:
    """A run as an .onnx that takes floats and gives the network's rows, with its card or as InsightFace's."""
    how = interface(pixels=False, channels_last=False, flip="none", unit=False)
    export_model(load_trained(teacher), path, Request(format="onnx", interface=how))
    if not card:
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.save(model, path)
    return path


@ways
def test_an_onnx_teaches_what_its_network_teaches(folder, teacher, alone, caplog):
    onnx_file = exported(teacher, folder / "teacher.onnx", card=not alone)
    for name, path in (("network", teacher), ("onnx", onnx_file)):
        with caplog.at_level(logging.INFO):
            train(taught(moved(folder, name), path, alone=alone, train={"steps": 6}))
    first, second = (
        [line["loss_distillation"] for line in lines(folder / name)] for name in ("network", "onnx")
    )
    assert second == pytest.approx(first, rel=1e-4)
    assert f"objective.teacher_from: {onnx_file}, run by onnxruntime, weights " in caplog.text
    model = onnx.load(onnx_file)
    model.graph.node[0].name = "renamed"
    onnx.save(model, onnx_file)  # another file
    with pytest.raises(partialfc.CheckpointError, match=r"its teacher was .*teacher.onnx .weights"):
        train(taught(folder / "onnx", onnx_file, alone=alone, train={"steps": 7}))


def test_an_onnx_that_cannot_be_what_it_is_named_for_is_told(folder, teacher):
    path = exported(teacher, folder / "teacher.onnx")
    with pytest.raises(
        partialfc.ConfigError, match=r"teacher\.onnx is an \.onnx, which says of which network"
    ):
        train(taught(folder, path, f"objective.teacher={CONVNET}"))
    with pytest.raises(partialfc.ConfigError, match=r"gives embeddings of size 16, and backbone.embedding"):
        train(taught(folder, path, "backbone.embedding_size=32"))
    with pytest.raises(partialfc.CheckpointError, match=r"backbone\.weights: .*it is an \.onnx, a graph"):
        train(small_config(folder, f"backbone.weights={path}"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(partialfc.DataError, match=r"objective\.teacher_from: .*onnxruntime cannot open it"):
        train(taught(folder, path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "backbone.embedding_size=32",
            r"gives embeddings of size 16, and backbone.embedding_size is 32: .* set ba",
        ),
        (
            "data.image_size=12",
            r"takes images of side 8, and data.image_size is 12: they must be equal; set data",
        ),
        ("data.channels=3", "takes images of so many channels: 1, and data.channels is 3"),
        ("objective.teacher_from=nowhere", "objective.teacher_from: nowhere: neither a checkpoint nor a run"),
    ],
    ids=["embedding_size", "image_size", "channels", "nowhere"],
)
def test_a_teacher_that_does_not_go_with_the_run_is_refused(folder, teacher, override, message):
    with pytest.raises((partialfc.ConfigError, partialfc.CheckpointError), match=message):
        train(taught(folder, teacher, override))


@ways
def test_a_resume_with_another_teacher_is_refused(folder, teacher, alone):
    copy = folder / "copy"
    shutil.copytree(teacher, copy)
    train(taught(folder, copy, alone=alone, train={"steps": 3}))
    longer = {"alone": alone, "train": {"steps": 4}}
    train(small_config(folder, f"run.dir={copy}", backbone=CONVNET, train={"steps": 41}))  # it trains on
    with pytest.raises(
        partialfc.CheckpointError, match=r"its teacher was .*step-00000040 .* this run is .*step-00000041"
    ):
        train(taught(folder, copy, **longer))
    assert train(taught(folder, teacher, **longer))["finished"]  # the same weights elsewhere


def test_a_run_keeps_its_objective(folder, teacher):
    train(taught(folder, teacher, train={"steps": 3}))
    with pytest.raises(partialfc.CheckpointError, match=r"objective.alone False -> True"):
        train(taught(folder, teacher, alone=True))
    with pytest.raises(partialfc.CheckpointError, match=r"objective.name distill -> classification"):
        train(small_config(folder))


def test_what_says_something_about_a_head_that_is_not_there_is_named(folder, teacher, caplog):
    with caplog.at_level(logging.WARNING):
        train(taught(folder, teacher, alone=True, train={"steps": 3}))
    assert "objective.alone is true, so there is no head: head: without effect" in caplog.text


def with_their_own(folder, teachers) -> None:
    train(taught(folder, teachers[World.of().rank], train={"steps": 3}))


def test_ranks_with_different_teachers_are_told_so(rank_outcomes, folder, teacher):
    other = moved(folder, "other")
    train(small_config(other, backbone=CONVNET, train={"steps": 3}))
    for outcome in rank_outcomes(with_their_own, 2, folder, [teacher, other / "run"]):
        with pytest.raises(partialfc.DistributedError, match=r"ranks \[1\] have another teacher than rank 0"):
            raise outcome


def test_the_next_generation_begins_with_the_previous_student(folder, teacher):
    """Recursive distillation: the student of one run is what the next one starts from."""
    train(taught(folder, teacher, train={"steps": 30}))
    second = moved(folder, "second")
    train(taught(second, teacher, f"backbone.weights={folder / 'run'}", train={"steps": 3}))
    assert lines(second)[0]["loss_distillation"] < 0.6 * lines(folder)[0]["loss_distillation"]


@ways
def test_on_an_accelerator_it_trains_and_resumes_as_on_the_cpu_and_waits_for_nothing(
    on_pretend, folder, teacher, alone
):
    objective = {"name": "distill", "teacher_from": str(teacher), "weight": 7.0, "alone": alone}
    there, here = run_both(on_pretend, folder, {**EXACT, "objective": objective})
    assert there["losses"] == pytest.approx(here["losses"], rel=1e-5)
    assert on_pretend(faults_of_steps, moved(folder, "steps"), {"objective": objective}) == []
