"""BatchNorm over all ranks, against one process with torch's own on the whole batch."""

import copy

import pytest
import torch
from torch import nn

import partialfc
from partialfc.distributed import World
from partialfc.training.sync_batchnorm import SyncBatchNorm, synchronised
from tests.train_cases import small_config
from tests.training.cases import EXACT, losses, moved, run

CPU = torch.device("cpu")
SIZES = {1: [7], 2: [5, 2], 3: [3, 1, 3], 4: [0, 4, 1, 2]}  # uneven, one value per channel, none


def layer(kind, **options):
    torch.manual_seed(1)
    made = {"1d": nn.BatchNorm1d, "2d": nn.BatchNorm2d, "3d": nn.BatchNorm3d}[kind](4, **options).double()
    if made.affine:
        nn.init.normal_(made.weight)
        nn.init.normal_(made.bias)
    return made


def batch(kind):
    """Means far from 0, where sums of squares would lose digits."""
    shape = {"1d": (7, 4), "2d": (7, 4, 3, 2), "3d": (7, 4, 2, 1, 3)}[kind]
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    return values[0] + 1e3, values[1]


def one_step(module, values, gradient):
    values = values.clone().requires_grad_()
    out = module(values)
    out.backward(gradient)
    return out.detach(), values.grad


def on_rank(kind, options, memory_format):
    world = World.of()
    module = synchronised(nn.Sequential(layer(kind, **options)), world, CPU)
    assert isinstance(module[0], SyncBatchNorm) == (world.size > 1)
    sizes = SIZES[world.size]
    begin = sum(sizes[: world.rank])
    mine = slice(begin, begin + sizes[world.rank])
    values, gradient = batch(kind)
    results = []
    for _ in range(2):  # running statistics move twice
        own = values[mine].contiguous(memory_format=memory_format)
        results = [*one_step(module, own, gradient[mine])]
    if sizes[world.rank] and memory_format is not torch.contiguous_format:
        assert results[0].is_contiguous(memory_format=memory_format)
    parameters = {name: p.grad for name, p in module.named_parameters()}
    with torch.no_grad():
        evaluated = module.eval()(values[mine])
    return *results, evaluated, parameters, module.state_dict()


@pytest.mark.parametrize("world_size", SIZES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("1d", {}),
        ("2d", {}),
        ("3d", {}),
        ("2d", {"affine": False}),
        ("2d", {"track_running_stats": False}),
        ("2d", {"momentum": None, "eps": 1e-3}),
        ("1d", {"momentum": 0.5}),
    ],
    ids=str,
)
def test_it_is_torchs_on_the_whole_batch(run_ranks, world_size, kind, options):
    check(run_ranks(on_rank, world_size, kind, options, torch.contiguous_format), kind, options)


def test_channels_last_stays(run_ranks):
    check(run_ranks(on_rank, 3, "2d", {}, torch.channels_last), "2d", {})


def check(results, kind, options):
    alone = nn.Sequential(layer(kind, **options))
    values, gradient = batch(kind)
    for _ in range(2):
        expected = one_step(alone, values, gradient)
    if options.get("track_running_stats", True):
        with torch.no_grad():
            expected = (*expected, alone.eval()(values))
    for part, whole in enumerate(expected):
        torch.testing.assert_close(torch.cat([r[part] for r in results]), whole, atol=1e-9, rtol=1e-9)
    for name, parameter in alone.named_parameters():
        total = sum(result[3][name] for result in results)
        torch.testing.assert_close(total, parameter.grad, atol=1e-9, rtol=1e-9)
    for result in results:
        assert list(result[4]) == list(alone.state_dict())
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(result[4][name], value, atol=1e-10, rtol=1e-12)


def in_dtype(dtype):
    world = World.of()
    module = synchronised(nn.Sequential(layer("2d").float()), world, CPU)
    values, gradient = batch("2d")
    mine = slice(0, 5) if world.rank == 0 else slice(5, 7)
    values = (values[mine] - 1e3).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        return one_step(module, values, gradient[mine].to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_inputs_have_wide_sums_and_keep_their_dtype(run_ranks, dtype):
    results = run_ranks(in_dtype, 2, dtype)
    values, gradient = batch("2d")
    expected = one_step(layer("2d"), (values - 1e3).to(dtype).double(), gradient.to(dtype).double())
    for part, whole in enumerate(expected):
        got = torch.cat([result[part] for result in results])
        assert got.dtype == dtype
        tolerance = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(got.double(), whole, atol=4 * tolerance, rtol=tolerance)


def frozen_input():
    module = synchronised(layer("1d"), World.of(), CPU)
    module(batch("1d")[0]).sum().backward()
    return module.bias.grad is not None


def test_a_first_layer_whose_input_needs_no_gradient(run_ranks):
    assert all(run_ranks(frozen_input, 2))


def one_value_in_all():
    synchronised(layer("1d"), World.of(), CPU)(torch.zeros(1 - World.of().rank, 4, dtype=torch.float64))


def test_one_value_in_all_is_refused(rank_outcomes):
    for outcome in rank_outcomes(one_value_in_all, 2):
        assert "needs more than one value per channel over all ranks" in str(outcome)


class Activated(nn.BatchNorm2d):
    """As timm's, a BatchNorm that does more."""

    def forward(self, input):
        return super().forward(input).relu()


def other_batchnorm():
    synchronised(nn.Sequential(nn.Conv2d(3, 4, 1), Activated(4)), World.of(), CPU)


def test_a_batchnorm_that_does_more_is_refused(rank_outcomes):
    for outcome in rank_outcomes(other_batchnorm, 2):
        assert isinstance(outcome, partialfc.ConfigError)
        assert "the backbone's 1 is a Activated" in str(outcome)


BATCHNORM = {"name": "tests.train_cases:Tiny", "options": {"double": True, "batchnorm": True}}


@pytest.mark.slow
def test_a_run_is_the_same_on_any_number_of_ranks(run_ranks, folder):
    """With uneven batches and a sample of the centres; without train.sync_batchnorm it is another run."""
    small = {**EXACT, "backbone": BATCHNORM, "train": {"batch_size": 25, "steps": 8}}
    whole = {}
    for world_size, together in ((1, True), (2, True), (3, True), (3, False)):
        place = moved(folder, f"{world_size}-{together}")
        overrides = ("head.sample_rate=0.3", f"train.sync_batchnorm={together}".lower())
        results = run_ranks(run, world_size, small_config(place, *overrides, **small))
        whole[world_size, together] = losses(place), results[0]["backbone"]
    alone, backbone = whole[1, True]
    for world_size in (2, 3):
        of_ranks, of_rank_0 = whole[world_size, True]
        assert of_ranks == pytest.approx(alone, abs=1e-9)
        for name, tensor in backbone.items():
            torch.testing.assert_close(of_rank_0[name], tensor, atol=1e-9, rtol=0)
    assert whole[3, False][0] != pytest.approx(alone, abs=1e-3)


@pytest.mark.slow
def test_a_compiled_backbone_is_synchronised_too(run_ranks, folder):
    small = {**EXACT, "train": {"batch_size": 24, "steps": 3, "sync_batchnorm": True}}
    plain, fast = moved(folder, "plain"), moved(folder, "fast")
    run(small_config(plain, **small | {"backbone": BATCHNORM}))
    run_ranks(run, 2, small_config(fast, **small | {"backbone": BATCHNORM | {"compile": True}}))
    assert losses(fast) == pytest.approx(losses(plain), abs=1e-9)


def test_a_step_that_is_not_finite_leaves_no_trace(run_ranks, folder):
    """Statistics of all ranks carry one rank's NaN to every rank, and are put back on every rank."""
    backbone = {"name": "tests.train_cases:Poisoned", "options": {"steps": [3], "rank": 1}}
    config = small_config(folder, "train.sync_batchnorm=true", backbone=backbone, train={"steps": 5})
    results = run_ranks(run, 2, config)
    for result in results:
        assert result["finished"]
        for name, tensor in result["backbone"].items():
            assert torch.isfinite(tensor).all()
            assert torch.equal(tensor, results[0]["backbone"][name])


def test_one_sample_a_rank_can_be_normalised_together(run_ranks, folder):
    config = small_config(
        folder, "train.sync_batchnorm=true", backbone=BATCHNORM, train={"batch_size": 2, "steps": 3}
    )
    assert all(result["finished"] for result in run_ranks(run, 2, config))


def test_one_process_keeps_torchs_own():
    module = nn.Sequential(nn.BatchNorm1d(3))
    assert synchronised(module, World(None, 0, 1), CPU) is module
    assert type(module[0]) is nn.BatchNorm1d
    assert copy.deepcopy(module).state_dict().keys() == module.state_dict().keys()
