"""Several optimizers as one, wherever torch takes an optimizer. Under a GradScaler: test_grad_scaler.py."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

import partialfc
from tests.head.optim.cases import D, batch, build

LR = torch.optim.lr_scheduler
SCHEDULERS = {
    "one cycle": lambda joint: LR.OneCycleLR(joint, [0.1, 1.0], total_steps=20),
    "cyclic": lambda joint: LR.CyclicLR(joint, 0.1, 1.0),
    "plateau": LR.ReduceLROnPlateau,
    "chained": lambda joint: LR.SequentialLR(joint, [LR.LinearLR(joint), LR.ExponentialLR(joint, 0.9)], [2]),
}


def sgd(**options: Any) -> torch.optim.SGD:
    torch.manual_seed(0)
    return torch.optim.SGD(nn.Linear(D, D, dtype=torch.float64).parameters(), **{"lr": 0.1} | options)


def of_backbone_and_head() -> partialfc.JointOptimizer:
    return partialfc.JointOptimizer(sgd(momentum=0.9), partialfc.RowSGD(build(1.0), lr=0.1, momentum=0.9))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_move_the_settings_of_all(name):
    joint = of_backbone_and_head()
    scheduler = SCHEDULERS[name](joint)
    before = [group["lr"] for group in joint.param_groups]
    for step in range(13):
        embeddings, labels = batch(step)
        joint.optimizers[1].head(embeddings, labels).backward()
        joint.step()
        joint.zero_grad()
        scheduler.step(*[1.0] if name == "plateau" else [])
    after = [group["lr"] for optimizer in joint.optimizers for group in optimizer.param_groups]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_a_cycled_momentum_must_be_that_of_all():
    torchs = torch.optim.AdamW(nn.Linear(2, 2).parameters())
    joint = partialfc.JointOptimizer(torchs, partialfc.RowSGD(build(1.0), lr=0.1))
    with pytest.raises(ValueError, match="must support momentum"):
        LR.OneCycleLR(joint, 0.1, total_steps=10)
    LR.OneCycleLR(joint, 0.1, total_steps=10, cycle_momentum=False)


def test_hooks_are_called():
    joint, calls = of_backbone_and_head(), []
    joint.register_step_pre_hook(lambda *_: calls.append("before step"))
    joint.register_step_post_hook(lambda *_: calls.append("after step"))
    joint.register_state_dict_pre_hook(lambda _: calls.append("before state_dict"))
    joint.register_state_dict_post_hook(lambda _, state: {**state, "epoch": 3})
    joint.register_load_state_dict_pre_hook(lambda _, state: {k: state[k] for k in ("0", "1")})
    joint.register_load_state_dict_post_hook(lambda _: calls.append("after load"))
    joint.step()
    state = joint.state_dict()
    assert state["epoch"] == 3
    joint.load_state_dict(state)
    assert calls == ["before step", "after step", "before state_dict", "after load"]


def after_steps(options: dict[str, Any], nested: bool, *found: float) -> list[torch.Tensor]:
    """What a backbone's SGD and a RowSGD as one have moved in steps with these values of found_inf."""
    outer, head = sgd(**options), build(1.0)
    inner = partialfc.RowSGD(head, lr=0.1, momentum=0.9)
    joint = partialfc.JointOptimizer(outer, inner)
    if nested:
        joint = partialfc.JointOptimizer(joint, torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1))
    parameters = outer.param_groups[0]["params"]
    for value in found:
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        head(*batch(0)).backward()
        joint.found_inf = torch.tensor(value)
        joint.step()
        assert not hasattr(inner, "found_inf")
        assert not head.has_row_gradients()
    return [*(parameter.detach() for parameter in parameters), head.state_dict()["weight"]]


@pytest.mark.parametrize("found_inf", [1.0, 2.0])  # 2: of two devices
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fused": True},
        {"fused": True, "momentum": 0.9},
        {"fused": True, "momentum": 0.9, "dampening": 0.5},
    ],
    ids=str,
)
def test_found_inf_skips_all_of_them(options, nested, found_inf):
    """In the first step and in a later one."""
    found = after_steps(options, nested, found_inf, 0.0, found_inf, 0.0)
    torch.testing.assert_close(found, after_steps(options, nested, 0.0, 0.0), atol=0, rtol=0)


def test_a_scale_that_one_of_them_does_not_divide_by_is_refused():
    joint = of_backbone_and_head()
    joint.grad_scale = torch.tensor(2.0)
    with pytest.raises(ValueError, match=r"grad_scale is set, and a SGD does not divide by it"):
        joint.step()


def copied_by_pickle(joint: partialfc.JointOptimizer) -> partialfc.JointOptimizer:
    file = io.BytesIO()
    torch.save(joint, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=False)


@pytest.mark.parametrize("take", [copy.deepcopy, copied_by_pickle])
def test_it_is_copied_where_its_optimizers_can_be(take):
    joint = partialfc.JointOptimizer(sgd(), sgd(lr=0.2))
    copied = take(joint)
    for group in copied.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    before = joint.param_groups[1]["params"][0].detach().clone()
    copied.step()
    assert torch.equal(joint.param_groups[1]["params"][0], before)
    torch.testing.assert_close(copied.param_groups[1]["params"][0].detach(), before - 0.2)
    with pytest.raises(TypeError, match=r"a RowSGD .* can be neither copied nor pickled"):
        take(of_backbone_and_head())


def test_what_cannot_step_as_one_is_refused():
    first = sgd()
    again = torch.optim.SGD(first.param_groups[0]["params"], lr=0.1)
    with pytest.raises(ValueError, match="optimizers has 0; give two or more"):
        partialfc.JointOptimizer()
    with pytest.raises(ValueError, match="optimizers has 1, a SGD; give two or more"):
        partialfc.JointOptimizer(first)
    with pytest.raises(ValueError, match="optimizers has 1, a JointOptimizer; give two or more"):
        partialfc.JointOptimizer(partialfc.JointOptimizer(sgd(), sgd()))
    for given, shown in ((3, "3"), ([sgd(), sgd()], "a list")):
        with pytest.raises(ValueError, match=rf"optimizers has {shown}.*; each must be a torch"):
            partialfc.JointOptimizer(given)
    with pytest.raises(ValueError, match="has one of them twice"):
        partialfc.JointOptimizer(first, first)
    with pytest.raises(ValueError, match="a SGD and a SGD of the same parameter"):
        partialfc.JointOptimizer(first, again)
    with pytest.raises(ValueError, match="of the same parameter"):
        partialfc.JointOptimizer(partialfc.JointOptimizer(sgd(), first), again)
    with pytest.raises(ValueError, match=r"each must be a torch\.optim\.Optimizer"):
        partialfc.JointOptimizer(first, build(1.0))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "state_dict is of type NoneType; it must be what JointOptimizer"),
        ([1, 2], "state_dict is of type list"),
        ({0: {}, 1: {}}, r"state_dict has \[0, 1\]; it must have"),
        ({"0": {}, "1": {}}, r"state_dict\['0'\] is no state of an optimizer; .* what SGD\.state_dict\(\)"),
        ({"0": sgd().state_dict(), "1": None}, r"state_dict\['1'\] .* what RowSGD\.state_dict\(\) gave"),
    ],
)
def test_what_is_no_state_is_refused_before_anything_is_loaded(state, message):
    joint = of_backbone_and_head()
    joint.param_groups[0]["lr"] = 7.0
    with pytest.raises(ValueError, match=message):
        joint.load_state_dict(state)
    assert joint.param_groups[0]["lr"] == 7.0


def test_optimizers_in_one_are_checked_and_keep_their_state():
    first = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
    head = build(1.0)
    second = partialfc.RowSGD(head, lr=0.1, momentum=0.9)
    joint = partialfc.JointOptimizer(first, second)
    head(torch.ones(2, D, dtype=torch.float64), torch.tensor([0, 1])).backward()
    first.param_groups[0]["params"][0].grad = torch.ones(2)
    joint.step()
    saved = copy.deepcopy(joint.state_dict())
    for group in joint.param_groups:
        group["lr"] = 7.0
    assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"] == 7.0
    joint.load_state_dict(saved)
    assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"] == 0.1
    assert joint.param_groups == [*first.param_groups, *second.param_groups]
    assert set(joint.state) == {first.param_groups[0]["params"][0], head.weight}
    with pytest.raises(ValueError, match=r"state_dict has .* it must have the optimizers"):
        joint.load_state_dict({"0": {}})
    with pytest.raises(ValueError, match="closure must be None"):
        joint.step(lambda: 0.0)
    with pytest.raises(ValueError, match="to one of the optimizers"):
        joint.add_param_group({"params": []})
