"""What a backbone costs by arithmetic alone: parameters, operations, and what training keeps in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from partialfc.backbones.build import BACKBONES, build_backbone
from partialfc.backbones.checkpointing import checkpointed, checkpointed_blocks
from partialfc.errors import ConfigError

BATCH = 8  # images of which the mean is taken, so that what a batch needs but once counts little


@dataclass(frozen=True)
class Cost:
    """Of one backbone.

    Attributes:
        parameters (int): Numbers that it has, trained or not; no running statistics.
        flops (int): Floating-point operations for the embedding of one image: those of convolutions and
            matrix products, two for a multiplication and addition. Training takes three times as many.
        kept (int): Bytes of activations that the pass forward of training keeps of one image, in float32.
        kept_by_checkpointing (int | None): The same with `backbone.checkpointing`; None: it has no blocks.
    """

    parameters: int
    flops: int
    kept: int
    kept_by_checkpointing: int | None


def backbone_cost(
    name: str,
    *,
    embedding_size: int = 512,
    image_size: int = 112,
    channels: int = 3,
    options: Mapping[str, Any] | None = None,
    options_key: str | None = None,
) -> Cost:
    """The cost of the backbone that `build_backbone` builds for these arguments; nothing is computed.

    Raises what `build_backbone` raises.
    """
    shape = (channels, image_size, image_size)

    with torch.device("meta"):  # without numbers, and without memory for them
        backbone = build_backbone(
            name,
            embedding_size=embedding_size,
            image_size=image_size,
            channels=channels,
            options=options,
            options_key=options_key,
        )
    with FakeTensorMode(allow_non_fake_inputs=True):  # likewise, as if on the CPU, which has autocast
        backbone.to_empty(device="cpu")
        parameters = sum(parameter.numel() for parameter in backbone.parameters())
        flops = _flops(backbone.eval(), shape)
        kept = _kept(backbone.train(), shape)
        fewer = _kept(checkpointed(backbone, name=name), shape) if checkpointed_blocks(backbone) else None
    return Cost(parameters, flops, kept, fewer)


def network_bytes(name: str, **how: Any) -> int:
    """Bytes of a backbone's parameters and running statistics; nothing is computed.

    how: further arguments of `build_backbone`, which raises what it raises.
    """
    with torch.device("meta"):
        backbone = build_backbone(name, **how)
    return sum(tensor.nbytes for tensor in (*backbone.parameters(), *backbone.buffers()))


def known_costs(*, embedding_size: int, image_size: int, channels: int) -> tuple[dict[str, Cost], list[str]]:
    """By name, the cost of each backbone of ours, and of those that refuse these sizes why they do."""
    found: dict[str, Cost] = {}
    refused: list[str] = []
    for name in BACKBONES:
        try:
            found[name] = backbone_cost(
                name, embedding_size=embedding_size, image_size=image_size, channels=channels
            )
        except ConfigError as error:
            refused.append(str(error))
    return found, refused


def _flops(backbone: nn.Module, shape: tuple[int, ...]) -> int:
    plain = sdpa_kernel(SDPBackend.MATH)  # attention as matrix products, which are counted
    with FlopCounterMode(display=False) as counter, torch.no_grad(), plain:
        backbone(torch.empty(1, *shape))
    return int(counter.get_total_flops())


def _kept(backbone: nn.Module, shape: tuple[int, ...]) -> int:
    found: dict[int, Tensor] = {}  # by storage, which several tensors may share

    def keep(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage()._cdata] = tensor
        return tensor

    own = {each.untyped_storage()._cdata for each in backbone.state_dict().values()}
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        embeddings = backbone(torch.empty(BATCH, *shape))
    del embeddings
    kept = (tensor for storage, tensor in found.items() if storage not in own)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept) // BATCH
