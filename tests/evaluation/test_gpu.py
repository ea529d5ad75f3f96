"""Embeddings computed on a GPU."""

import numpy as np
import pytest
import torch

from partialfc.backbones import build_backbone
from partialfc.data.images.codec import encode_jpeg
from partialfc.evaluation.embed import embed
from tests.devices import CPU, the_device

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("amp", [None, torch.bfloat16], ids=str)
def test_embeddings_are_the_cpus(amp):
    pictures = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), np.uint8)
    images = [encode_jpeg(picture) for picture in pictures]
    torch.manual_seed(0)
    backbone = build_backbone("convnet", embedding_size=16, image_size=32)
    options = {"image_size": 32, "channels": 3, "batch_size": 4, "flip": "sum"}
    expected = embed(backbone, images, device=CPU, **options)
    found = embed(backbone.to(the_device()), images, device=the_device(), amp=amp, **options)
    assert (found.device, found.dtype) == (CPU, torch.float32)
    assert (found - expected).norm() <= (0.01 if amp is None else 0.1) * expected.norm()
