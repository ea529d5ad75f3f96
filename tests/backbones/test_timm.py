"""Models of timm as backbones: sizes, options, weights from a file, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from partialfc.backbones import build_backbone
from partialfc.backbones.checkpointing import checkpointed, checkpointed_blocks
from partialfc.backbones.cost import backbone_cost
from partialfc.backbones.timm_model import TimmBackbone, import_timm
from partialfc.backbones.weights.files import read_weights
from partialfc.backbones.weights.load import load_start
from partialfc.errors import CheckpointError, ConfigError
from tests.backbones.cases import images, small
from tests.backbones.test_checkpointing import assert_same, trained

RESNET, VIT = "timm:test_resnet", "timm:test_vit"  # timm's own smallest ones


def model(name: str, **options: Any) -> TimmBackbone:
    built = small(name, **options)
    assert isinstance(built, TimmBackbone)
    return built


@pytest.mark.parametrize(("image_size", "channels"), [(112, 3), (32, 1)])
@pytest.mark.parametrize("name", [RESNET, VIT, "timm:test_efficientnet", "timm:test_convnext"])
def test_images_of_any_size_and_channels_give_embeddings_that_train(
    name: str, image_size: int, channels: int
) -> None:
    backbone = model(name, image_size=image_size, channels=channels).train()
    embeddings = backbone(images(image_size=image_size, channels=channels))
    assert embeddings.shape == (2, 24)
    (embeddings * torch.arange(24)).sin().sum().backward()
    for parameter_name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, parameter_name
    with pytest.raises(ValueError, match=rf"built for \[B, {channels}, {image_size}, {image_size}\]"):
        backbone(images(image_size=image_size + 1, channels=channels))


def test_features_are_those_of_timm_without_a_classifier() -> None:
    timm = import_timm()
    backbone = model(RESNET).eval()
    assert backbone.model.num_classes == 0
    own = timm.create_model("test_resnet", num_classes=0, in_chans=1).eval()
    own.load_state_dict(backbone.model.state_dict())
    features = own(images())
    assert torch.equal(backbone(images()), backbone.features(backbone.fc(backbone.norm(features))))


def test_options_go_to_timm_and_pooling_may_be_another() -> None:
    pooled = model(RESNET)
    both = model(RESNET, global_pool="catavgmax", drop_path_rate=0.1)
    assert both.fc.in_features == 2 * pooled.fc.in_features
    flat = model(RESNET, global_pool="")
    assert flat(images()).shape == (2, 24)


def test_the_embedding_layer_keeps_float32_under_autocast() -> None:
    backbone = model(RESNET).train()
    with torch.autocast("cpu", torch.bfloat16):
        assert backbone.model(images()).dtype == torch.bfloat16
        assert backbone(images()).dtype == torch.float32


@pytest.mark.parametrize("name", [RESNET, VIT])
def test_checkpointing_is_exact(name: str) -> None:
    first, second = model(name, image_size=16), model(name, image_size=16)
    assert checkpointed_blocks(first)
    assert_same(trained(checkpointed(first, name=name)), trained(second))


def test_its_cost_is_counted() -> None:
    cost = backbone_cost("timm:resnet18", embedding_size=512, image_size=224)
    assert cost.flops / 2e9 == pytest.approx(1.82, rel=0.01)  # timm's table: 1.82 GMACs with its classifier
    assert cost.kept_by_checkpointing is not None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm:resnet_18", {}, r"has no model 'resnet_18'; near are .*resnet18"),
        ("timm:xxxxxxxxxxxxx", {}, "has no model 'xxxxxxxxxxxxx'; timm.list_models"),
        ("timm:hf-hub:timm/resnet18", {}, "has no model 'hf-hub:timm/resnet18'"),
        ("timm:local-dir:/tmp", {}, "has no model 'local-dir:/tmp'"),
        (RESNET, {"checkpoint_path": "/tmp/x"}, "checkpoint_path=.*: is no option here: name the file in"),
        (RESNET, {"pretrained": True}, "pretrained=.*: is no option here: name the file in backbone.weights"),
        (
            RESNET,
            {"pretrained_cfg": {"url": "x"}},
            "pretrained_cfg=.*: is no option here: nothing is downloaded",
        ),
        (RESNET, {"num_classes": 3}, "num_classes=.*: is no option here: .*backbone.embedding_size"),
        (RESNET, {"img_size": 3}, "img_size=.*: is no option here: set data.image_size"),
        (
            RESNET,
            {"depths": 3},
            "cannot be built for images of 32x32 .*options {'depths': 3}: TypeError: .*depths",
        ),
        ("timm:test_resnet.a_tag", {}, "cannot be built for images .*a_tag"),
        (VIT, {"patch_size": 64}, "images of 32x32 with 1 channels"),
    ],
)
def test_what_timm_does_not_take_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(name, **options)


def test_what_is_no_option_of_a_network_of_timm_is_named_with_its_key() -> None:
    message = (
        r"^backbone 'timm:test_resnet': backbone\.options\.in_chans=3: is no option here: set data\.chann"
    )
    with pytest.raises(ConfigError, match=message):
        build_backbone(RESNET, embedding_size=8, options={"in_chans": 3}, options_key="backbone.options")


def saved(path: Path, name: str, *, image_size: int = 32, **around: Any) -> dict[str, torch.Tensor]:
    """timm's own model with its classifier, for images in colour, in a file."""
    timm = import_timm()
    torch.manual_seed(7)
    sized = {"img_size": image_size} if "vit" in name else {}
    state: dict[str, torch.Tensor] = timm.create_model(name, num_classes=1000, **sized).state_dict()
    torch.save({"state_dict": state, **around} if around else state, path)
    return state


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_timms_weights_are_taken_from_a_file_and_fitted(name: str, tmp_path: Path) -> None:
    """Colour to grey, the classifier left out, and position embeddings to another image size."""
    state = saved(tmp_path / "w.pt", name, image_size=64, epoch=3)
    backbone = model(f"timm:{name}")
    fresh = backbone.fc.weight.clone()
    content = read_weights(tmp_path / "w.pt")
    told = load_start(backbone, content, name=f"timm:{name}", embedding_size=24)
    assert told == "['state_dict']; they are timm's, and the embedding layer is new"
    taken = backbone.model.state_dict()
    same = [key for key in taken if torch.equal(taken[key], state[key])]
    assert len(same) >= len(taken) - 2
    first = "conv1.0.weight" if name == "test_resnet" else "patch_embed.proj.weight"
    assert torch.allclose(taken[first], state[first].sum(dim=1, keepdim=True), atol=1e-6)
    assert torch.equal(backbone.fc.weight, fresh)


def test_a_whole_backbone_is_taken_whole(tmp_path: Path) -> None:
    first = model(RESNET)
    torch.save(first.state_dict(), tmp_path / "w.pt")
    torch.manual_seed(5)
    other = build_backbone(RESNET, embedding_size=24, image_size=32, channels=1)
    load_start(other, read_weights(tmp_path / "w.pt"), name=RESNET, embedding_size=24)
    assert torch.equal(other.eval()(images()), first.eval()(images()))


def test_weights_that_are_not_its_own_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "w.pt", "test_vit")
    with pytest.raises(CheckpointError, match="it does not fit timm:test_resnet"):
        load_start(model(RESNET), read_weights(tmp_path / "w.pt"), name=RESNET, embedding_size=24)
    state = saved(tmp_path / "w.pt", "test_resnet")
    part = {key: value for key, value in state.items() if not key.startswith("layer4")}
    with pytest.raises(CheckpointError, match=r"not those of timm:test_resnet: .*[mM]issing key"):
        load_start(model(RESNET), part, name=RESNET, embedding_size=24)
    state["conv1.0.weight"][0] = torch.nan
    with pytest.raises(CheckpointError, match=r"its tensor conv1.0.weight has .* NaN"):
        load_start(model(RESNET), state, name=RESNET, embedding_size=24)
