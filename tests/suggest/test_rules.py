"""The tables: each rule's value where it changes, and rules that hold together."""

import pytest
import torch

from partialfc.backbones import build_backbone
from partialfc.config import parse_config
from partialfc.plan import Setting
from partialfc.suggest import head, learning, loading, network
from partialfc.suggest.network import ON_ACCELERATOR, ON_CPU, network_for


@pytest.mark.parametrize(
    ("side", "images", "accelerator", "name", "size"),
    [
        pytest.param(32, 20_000, False, "convnet", 24, id="small-cpu"),
        pytest.param(64, 20_000, False, "convnet", 48, id="cpu"),
        pytest.param(32, 20_000, True, "convnet", 32, id="small-gpu"),
        pytest.param(112, 50_000, True, "iresnet18", 112, id="few-gpu"),
        pytest.param(112, 1_000_000, True, "iresnet50", 112, id="many-gpu"),
        pytest.param(600, 5_000_000, True, "iresnet100", 112, id="very-many-gpu"),
    ],
)
def test_the_network_by_size_number_and_machine(side, images, accelerator, name, size):
    chosen = network_for(side, images, accelerator=accelerator)
    assert (chosen.name, chosen.size) == (name, size)


@pytest.mark.parametrize("row", [*ON_CPU, *ON_ACCELERATOR], ids=lambda row: f"{row.name}-{row.size}")
def test_every_network_can_be_built(row):
    with torch.device("meta"):  # shapes alone, at once for the large ones too
        built = build_backbone(
            row.name, embedding_size=row.embedding, image_size=row.size, channels=3, options=row.options
        )
    assert sum(parameter.numel() for parameter in built.parameters()) > 0


def test_channels_by_colour():
    assert network.channels(grey=True, some_grey=True).value == 1
    mixed = network.channels(grey=False, some_grey=True)
    assert mixed.value == 3
    assert "Some have no colour" in mixed.why


@pytest.mark.parametrize(
    ("images", "ranks", "memory", "batch"),
    [
        pytest.param(20_000, 1, None, 256, id="usual"),
        pytest.param(20_000, 2, None, 512, id="two-ranks"),
        pytest.param(600, 1, None, 64, id="few"),
        pytest.param(30, 1, None, 8, id="very-few"),
        pytest.param(5, 1, None, 5, id="fewer-than-a-batch"),
        pytest.param(1_000_000, 8, 80 << 30, 1024, id="large-gpus"),
        pytest.param(1_000_000, 8, 16 << 30, 512, id="small-gpus"),
        pytest.param(1_000_000, 1, 4 << 30, 32, id="tiny-gpu"),
    ],
)
def test_the_batch_by_images_ranks_and_memory(images, ranks, memory, batch):
    assert learning.batch_size(256, images=images, ranks=ranks, memory=memory) == batch


@pytest.mark.parametrize(
    ("batch", "lr"), [(128, 0.1), (256, 0.2), (1024, 0.2), (64, 0.05), (8, 0.01), (1, 0.01)]
)
def test_the_rate_goes_with_the_batch_within_bounds(batch, lr):
    assert learning.rate(batch, 0.1, 128) == lr


def test_adamw_gets_a_rate_of_its_own():
    assert learning.optimizer("adamw", 256, 0.1, 128)["lr"].value == 0.001


def test_few_images_are_gone_through_more_often():
    counts = [5, 100, 1_000, 10_000, 100_000, 10_000_000]
    found = [learning.epochs(count) for count in counts]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] >= 5


def test_the_warm_up_is_a_tenth_however_long_the_run():
    assert learning.schedule({"name": "cosine"})["warmup_ratio"].value == 0.1


def test_a_short_run_looks_five_times_and_a_long_one_each_epoch():
    assert learning.period(unit="epochs", length=20, steps_an_epoch=30) == {"every_epochs": 4.0}
    assert learning.period(unit="epochs", length=20, steps_an_epoch=5_000) == {"every_epochs": 1.0}
    assert learning.period(unit="epochs", length=1, steps_an_epoch=30) == {"every_epochs": 1.0}
    assert learning.period(unit="steps", length=500, steps_an_epoch=30) == {"every_steps": 100}
    assert learning.period(unit="steps", length=2, steps_an_epoch=30) == {"every_steps": 1}


@pytest.mark.parametrize(
    ("side", "grey", "flip"), [(32, True, False), (32, False, True), (112, True, True), (112, False, True)]
)
def test_small_grey_images_are_not_mirrored(side, grey, flip):
    value = loading.augment(side, grey=grey).value
    assert value.get("flip", False) is flip
    assert ("saturation" in value) is not grey


@pytest.mark.parametrize(
    ("side", "cores", "ranks", "accelerator", "workers"),
    [
        pytest.param(32, 64, 1, False, 0, id="small"),
        pytest.param(600, 2, 1, False, 0, id="two-cores"),
        pytest.param(600, 16, 1, False, 2, id="large"),
        pytest.param(112, 64, 8, True, 7, id="gpus"),
        pytest.param(112, 4, 8, True, 1, id="few-cores"),
    ],
)
def test_workers_where_there_are_cores_for_them(side, cores, ranks, accelerator, workers):
    assert loading.workers(side, cores=cores, ranks=ranks, accelerator=accelerator).value == workers


@pytest.mark.parametrize(
    ("classes", "scale", "rate"),
    [(3, 16, 1.0), (10_000, 16, 1.0), (100_000, 32, 1.0), (500_000, 64, 0.3), (10_000_000, 64, 0.1)],
)
def test_scale_and_sample_rate_by_the_number_of_classes(classes, scale, rate):
    assert head.margin(classes, 20).value["scale"] == scale
    setting = Setting(classes=classes, embedding=512, gpus=8, batch=128)
    assert head.storage(setting, 10**15, bfloat16=True)["sample_rate"].value == rate


@pytest.mark.parametrize("memory", [80 << 30, 40 << 30, 24 << 30], ids=["80", "40", "24"])
def test_a_head_that_does_not_fit_is_stored_more_narrowly(memory):
    """Each change is made only where those before are not enough, and what comes out is a valid head."""
    setting = Setting(classes=10_000_000, embedding=512, gpus=1, batch=128)
    choices = head.storage(setting, memory, bfloat16=True)
    assert ("does not fit" in choices["sample_rate"].why) is (memory < 40 << 30)
    found = {key: choice.value for key, choice in choices.items()}
    assert found["compute_dtype"] == "bfloat16"
    assert ("weight_dtype" in found) is (memory < 80 << 30)
    assert ("momentum_dtype" in found) is (memory < 80 << 30)
    assert (found["sample_rate"] < 0.1) is (memory < 40 << 30)
    parse_config(
        {
            "run": {"dir": "x"},
            "data": {"train": "x"},
            "backbone": {"name": "convnet"},
            "head": found,
            "optimizer": {"lr": 0.1},
            "train": {"batch_size": 8, "steps": 1},
        },
        (),
        "test",
    )
