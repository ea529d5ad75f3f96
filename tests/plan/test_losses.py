"""What losses beside the head add to a plan, against what they take and exchange."""

from dataclasses import replace

import pytest
import torch

import partialfc
from partialfc.config import parse_config
from partialfc.config.plan import planned_setting
from partialfc.errors import ConfigError
from partialfc.plan import Setting, memory_of, plan
from partialfc.plan.describe import describe, to_dict
from partialfc.plan.losses import loss_bytes
from partialfc.plan.setting import LOSSES
from tests.plan.cases import FACES, GB
from tests.torch_calls import TorchCalls

C, D, N = 50, 64, 512
MADE = {
    "center": lambda head: partialfc.CenterLoss(D, C),
    "center_of_head": lambda head: partialfc.CenterLoss(head=head),
    "contrastive": lambda head: partialfc.ContrastiveLoss(),
    "angular_contrastive": lambda head: partialfc.AngularContrastiveLoss(),
    **{
        f"triplet_{mining}": lambda head, mining=mining: partialfc.TripletLoss(mining=mining)
        for mining in ("all", "hard", "semihard")
    },
}
HERE = Setting(classes=C, embedding=D, gpus=1, batch=N, device="cpu")


def make(name):
    return MADE[name](partialfc.PartialFC(D, C, margin=partialfc.ArcFace()))


@pytest.mark.parametrize("name", LOSSES)
def test_memory_is_the_peak_of_a_step(name):
    loss, x = make(name), torch.randn(N, D, requires_grad=True)
    with TorchCalls() as calls:
        loss(x, torch.arange(N) // 16).backward()
    kept = 0 if name != "center" else loss.centres.nbytes
    assert calls.peak + kept == pytest.approx(loss_bytes(replace(HERE, losses=(name,))), rel=0.1)


def traffic(name):
    loss, x = make(name), torch.randn(8, D, requires_grad=True)
    for _ in range(2):  # in the first, no rank knows yet how many labels the others have
        loss.world.traffic.reset()
        loss(x, torch.arange(8) // 2).backward()
    return loss.world.traffic.calls, loss.world.traffic.bytes


@pytest.mark.parametrize("name", ["center", "contrastive", "triplet_all"])
def test_communication_is_what_the_ranks_exchange(run_ranks, name):
    calls, payload = run_ranks(traffic, 2, name)[0]
    planned = plan(replace(HERE, gpus=2, batch=8, losses=(name,)), memory=GB).communication.collectives
    of_loss = [each for each in planned if each.what.endswith("of the losses")]
    assert {each.what for each in of_loss} == {
        f"{what} of the losses" for what in ("labels", "embeddings", "sums", "gradients")
    }
    for kind in ("all_gather", "reduce_scatter"):
        those = [each for each in of_loss if each.kind == kind]
        assert (len(those), sum(each.payload for each in those)) == (calls[kind], payload[kind])
    assert calls["all_reduce"] == 1
    assert payload["all_reduce"] <= 16


def test_a_plan_without_losses_has_no_line_of_them():
    assert memory_of(FACES).losses == 0
    assert "losses" not in describe(plan(FACES, memory=80 * GB))
    both = plan(replace(FACES, losses=("center", "triplet_hard")), memory=80 * GB)
    text = describe(both)
    assert "losses" in text
    assert "reduce-scatter of gradients of the losses" in text
    assert both.checkpoint - plan(FACES, memory=80 * GB).checkpoint == 10_000_000 * 512 * 4
    assert both.memory.losses == 1_250_000 * 512 * 4 + 5 * 1024 * 512 * 4  # one at a time
    assert to_dict(both)["setting"]["losses"] == ("center", "triplet_hard")
    with pytest.raises(ConfigError, match="losses has 'triplet'; each must be one of center, center_of_head"):
        replace(FACES, losses=("triplet",))


def test_a_config_says_which_losses_there_are():
    mapping = {
        "run": {"dir": "runs/x"},
        "data": {"train": "images", "num_classes": 1000},
        "backbone": {"name": "convnet"},
        "optimizer": {"lr": 0.1},
        "train": {"batch_size": 8, "steps": 1},
        "losses": [
            {"name": "center", "weight": 1, "centres": "head"},
            {"name": "triplet", "weight": 1, "mining": "all"},
            {"name": "contrastive", "weight": 1},
        ],
    }
    found = planned_setting(parse_config(mapping, [], "the test"))
    assert found.losses == ("center_of_head", "triplet_all", "contrastive")
