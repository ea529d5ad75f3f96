"""Vision transformers for recognition: every patch's token goes into the embedding."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partialfc.backbones.drop_path import DropPath
from partialfc.backbones.sizes import OptionError, check_images, check_positive, check_share

INIT_STD = 0.02
EPS = 1e-6  # of layer normalisation
MLP_RATIO = 4  # how many times wider the middle of an MLP is


class Attention(nn.Module):
    """Multi-head self-attention; [B, L, width] -> the same shape.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.2.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class MLP(nn.Module):
    """Two layers with GELU between them; [..., width] -> the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """x + attention, then x + MLP, each of the normalised x; [B, L, width] -> the same shape.

    drop_path: the share of samples whose attention, and whose MLP, is left out in training.
    """

    def __init__(self, width: int, heads: int, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = MLP(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class PatchEmbed(nn.Module):
    """images [B, channels, H, H] -> a token for each patch [B, L, width], row by row."""

    def __init__(self, patch_size: int, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.proj(images).flatten(2).transpose(1, 2)
        return tokens


class VisionTransformer(nn.Module):
    """images [B, channels, image_size, image_size] -> embeddings [B, D], not normalised.

    ViT, Dosovitskiy et al. 2021 (arXiv:2010.11929), section 3.1, in the sizes of DeiT, Touvron et al. 2021
    (arXiv:2012.12877), table 1. As in InsightFace's, there is no class token: the tokens of all patches are
    flattened into the embedding, where each has its place. Parameters have timm's names.

    An image has (image_size // patch_size)² patches, at least 2x2. What is left over at its edges is left
    out, half on each side: of 112 pixels, patches of 9 see 108.

    width, depth, heads: the tokens' size, the blocks, and the heads of each. InsightFace's vit_t, vit_s and
    vit_b have patches of 9 and width, depth, heads of 256, 12, 8; 512, 12, 8 and 512, 24, 8.
    drop_path: the share of samples that skip a part of the last block in training; of the first one none do,
    and between them it rises evenly (stochastic depth, Huang et al. 2016, arXiv:1603.09382, equation 4).
    patch_mask: the share of patches that are taken away from each image in training, drawn anew each time; a
    learned token stands for them in the embedding layer. Of those that stay, a part of a patch is none, but
    one is always seen. It saves as much of the blocks' time.
    Under autocast the embedding layer runs in the dtype of its weights.
    """

    def __init__(
        self,
        *,
        embedding_size: int,
        image_size: int = 112,
        channels: int = 3,
        patch_size: int = 8,
        width: int,
        depth: int = 12,
        heads: int,
        drop_path: float = 0.0,
        patch_mask: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(embedding_size=embedding_size, image_size=image_size, channels=channels)
        check_positive(patch_size=patch_size, width=width, depth=depth, heads=heads)
        check_share(drop_path=drop_path, patch_mask=patch_mask)
        if width % heads:
            raise OptionError("heads", heads, f"must divide width, which is {width}")
        side = image_size // patch_size
        if side < 2:
            raise OptionError(
                "patch_size",
                patch_size,
                f"must be at most half of the image's side, which is {image_size}, so that there are several "
                "patches to look at each other",
            )
        self.channels = channels
        self.image_size = image_size
        self.map_shape = (width, side, side)
        left_over = image_size - side * patch_size
        self._seen = slice(left_over - left_over // 2, image_size - left_over // 2)
        # Patches that are seen in training. 100 * (1 - 0.9) is 9.999999999999998, and means 10.
        self._shown = max(1, int(round(side**2 * (1 - patch_mask), 6)))

        self.patch_embed = PatchEmbed(patch_size, channels, width)
        self.pos_embed = nn.Parameter(torch.empty(1, side**2, width))
        self.mask_token = nn.Parameter(torch.empty(1, 1, width)) if self._shown < side**2 else None
        rates = [drop_path * at / max(1, depth - 1) for at in range(depth)]
        self.blocks = nn.Sequential(*(Block(width, heads, drop_path=rate) for rate in rates))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.fc = nn.Linear(width * side**2, embedding_size, bias=False)
        self.features = nn.BatchNorm1d(embedding_size)

        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.trunc_normal_(module.weight, std=INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for parameter in (self.pos_embed, self.mask_token):
            if parameter is not None:
                nn.init.trunc_normal_(parameter, std=INIT_STD)

    def forward(self, images: Tensor) -> Tensor:
        return self.embed_map(self.feature_map(images))

    def feature_map(self, images: Tensor) -> Tensor:
        """images [B, channels, image_size, image_size] -> the patches' tokens, as a map [B, *map_shape]."""
        check_images(images, channels=self.channels, image_size=self.image_size)
        x = self.patch_embed(images[..., self._seen, self._seen]) + self.pos_embed
        if self.mask_token is None:
            tokens = self.norm(self.blocks(x))
        elif self.training:
            places = _random_places(x, self._shown)
            seen = self.norm(self.blocks(x.gather(1, places)))
            tokens = self.mask_token.to(seen.dtype).expand(x.shape).scatter(1, places, seen)
        else:
            # Plus nothing, so that a pass back reaches the token: DistributedDataParallel waits for each.
            tokens = self.norm(self.blocks(x)) + 0 * self.mask_token
        features: Tensor = tokens.transpose(1, 2).unflatten(2, self.map_shape[1:])
        return features

    def embed_map(self, features: Tensor) -> Tensor:
        """A feature map [B, *map_shape] -> embeddings [B, D]."""
        with torch.autocast(features.device.type, enabled=False):
            flat = (
                features.flatten(2).transpose(1, 2).flatten(1)
            )  # patch by patch, as the tokens lie in memory
            embeddings: Tensor = self.features(self.fc(flat.to(self.fc.weight.dtype)))
        return embeddings


def _random_places(x: Tensor, count: int) -> Tensor:
    """tokens [B, L, width] -> for each sample `count` of its L places, uniform: indices [B, count, width]."""
    order = torch.rand(x.shape[:2], device=x.device).argsort(dim=1)
    return order[:, :count, None].expand(-1, -1, x.shape[2])
