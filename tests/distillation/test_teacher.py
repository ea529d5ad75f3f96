"""A teacher out of a run or a file: frozen, in evaluation mode, and known by what it computes."""

import pytest
import torch

from partialfc import CheckpointError, ConfigError
from partialfc.backbones import build_backbone
from partialfc.deploy.trained import load_trained
from partialfc.distillation.teacher import Teacher, open_teacher
from tests.paths import FIXTURES
from tests.train_cases import Normed

NOTHING = "neither a checkpoint nor a run with checkpoints, nor a file of weights; it does not exist"
RUN, TRUST = FIXTURES / "run_0.1.0", ["tests.train_cases"]
CONVNET = {
    "name": "convnet",
    "embedding_size": 6,
    "image_size": 8,
    "channels": 1,
    "options": {"widths": [4], "blocks": [1]},
}


def images():
    return torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_run_teaches_what_it_has_learned():
    teacher, trained = open_teacher(RUN, trust=TRUST), load_trained(RUN, trust=TRUST)
    assert (teacher.embedding_size, teacher.image_size, teacher.channels) == (16, 8, 1)
    assert teacher.source == trained.checkpoint.resolve()
    assert torch.equal(teacher(images()), trained(images()))


@pytest.mark.parametrize("kind", ["torch", "training_checkpoint"])
def test_a_file_of_weights_teaches(tmp_path, kind):
    network = build_backbone(**CONVNET).eval()
    content = network.state_dict() if kind == "torch" else {"model": network.state_dict(), "epoch": 3}
    torch.save(content, tmp_path / "weights.pt")
    teacher = open_teacher(tmp_path / "weights.pt", network=CONVNET)
    assert torch.equal(teacher(images()), network(images()))
    assert (teacher.embedding_size, teacher.image_size, teacher.channels) == (6, 8, 1)
    assert teacher.source == tmp_path / "weights.pt"


def test_it_is_frozen_and_in_evaluation_mode():
    network = Normed(embedding_size=4, image_size=8, channels=1)
    teacher = Teacher(network, embedding_size=4, image_size=8, channels=1)
    before, again = teacher(images()), teacher(images())  # dropout and BatchNorm of training would differ
    assert torch.equal(before, again)
    assert not before.requires_grad
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert teacher.digest == Teacher(network, embedding_size=4, image_size=8, channels=1).digest


@pytest.mark.parametrize("what", ["a_weight", "a_statistic"])
def test_its_digest_tells_what_it_computes(what):
    network = Normed(embedding_size=4, image_size=8, channels=1)
    sizes = {"embedding_size": 4, "image_size": 8, "channels": 1}
    before = Teacher(network, **sizes).digest
    assert Teacher(network.to(memory_format=torch.channels_last), **sizes).digest == before
    changed = network.head[1].weight if what == "a_weight" else network.features[1].running_mean
    changed.view(-1)[0] += 1e-6
    assert Teacher(network, **sizes).digest != before


def test_under_autocast_it_computes_as_autocast_says():
    network = Normed(embedding_size=4, image_size=8, channels=1)
    teacher = Teacher(network, embedding_size=4, image_size=8, channels=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert teacher(images()).dtype == torch.bfloat16


def test_what_is_no_teacher_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"tests.train_cases.*trust"):
        open_teacher(RUN)
    with pytest.raises(CheckpointError, match="neither a checkpoint nor a run"):
        open_teacher(tmp_path)
    with pytest.raises(ValueError, match="is a run, which knows its network; network must be None"):
        open_teacher(RUN, network=CONVNET)
    for network in (None, CONVNET):
        with pytest.raises(CheckpointError, match=rf"^{tmp_path}/absent: {NOTHING}$"):
            open_teacher(tmp_path / "absent", network=network)
    torch.save(build_backbone(**CONVNET).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="is a file of weights; network must say of which network it is"):
        open_teacher(tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"weights.pt: it does not fit convnet: .* have 6 numbers"):
        open_teacher(tmp_path / "weights.pt", network=CONVNET | {"embedding_size": 7})
