"""DALI's graph from encoded to augmented images: what transforms.ToPixels does, step by step."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from partialfc.data.images.augmentation import CONTRAST_CENTRE, Augment, border_mask
from partialfc.data.loading.transforms import EncodedImages

_DIMENSIONS = {"images": 1, "matrices": 2, "coarse": 1, "colours": 1}  # of each sample, by input


def build_pipeline(
    dali: Any,
    next_batch: Callable[[], EncodedImages],
    *,
    batch_size: int,
    threads: int,
    depth: int,
    device: torch.device,
    options: Augment,
    image_size: int,
    channels: int,
) -> Any:
    """A pipeline that asks `next_batch` for `depth` batches at its first run and for one at each further run.

    Its output is uint8 [B, channels, image_size, image_size] on `device`, a CUDA device or the CPU.
    """
    on_gpu = device.type == "cuda"
    names = _used_inputs(options)
    pipeline = dali.Pipeline(
        batch_size=batch_size,
        num_threads=threads,
        device_id=device.index if on_gpu else None,
        prefetch_queue_depth=depth,
        # What this executor has handed out stays as it is for as long as someone holds it, on a GPU until the
        # stream that it was handed to has read it. The others write the next batch over it.
        exec_dynamic=True,
    )
    with pipeline:
        inputs = dali.fn.external_source(
            source=lambda: _arrays(next_batch(), names),
            num_outputs=len(names),
            dtype=[dali.types.UINT8 if name == "images" else dali.types.FLOAT for name in names],
            ndim=[_DIMENSIONS[name] for name in names],
        )
        given = dict(zip(names, inputs, strict=True))
        images = _decode(dali, given["images"], image_size, channels, on_gpu=on_gpu)
        if options.moves:
            images = _move(dali, images, given["matrices"], options.fill, image_size, channels, on_gpu=on_gpu)
        if options.coarsens:
            images = _coarsen(dali, images, given["coarse"], image_size)
        if options.recolours:
            images = _recolour(dali, images, given["colours"], channels)
        pipeline.set_outputs(dali.fn.transpose(images, perm=[2, 0, 1]))
    pipeline.build()
    return pipeline


def _used_inputs(options: Augment) -> list[str]:
    """Only the inputs that the graph uses, as DALI warns about others."""
    optional = {"matrices": options.moves, "coarse": options.coarsens, "colours": options.recolours}
    return ["images", *(name for name, used in optional.items() if used)]


def _arrays(batch: EncodedImages, names: Sequence[str]) -> list[Any]:
    """The inputs of a batch: an array [B, ...] each, or for the images a list of B of them."""
    arrays = {
        "images": np.split(batch.data.numpy(), batch.sizes.cumsum(0)[:-1].numpy()),
        "matrices": _on_corners(batch.matrices.numpy()),
        "coarse": batch.coarse.numpy(),
        "colours": batch.colours.numpy(),
    }
    return [arrays[name] for name in names]


def _decode(dali: Any, encoded: Any, size: int, channels: int, *, on_gpu: bool) -> Any:
    images = dali.fn.decoders.image(
        encoded,
        device="mixed" if on_gpu else "cpu",
        output_type=dali.types.RGB if channels == 3 else dali.types.GRAY,
        adjust_orientation=False,
    )
    return _resize(dali, images, [size, size])


def _resize(dali: Any, images: Any, size: Any) -> Any:
    return dali.fn.resize(images, size=size, interp_type=dali.types.INTERP_LINEAR, antialias=True)


def _move(
    dali: Any, images: Any, matrices: Any, fill: int | None, size: int, channels: int, *, on_gpu: bool
) -> Any:
    def warp(moved: Any, fill: int) -> Any:
        return dali.fn.warp_affine(
            moved,
            matrix=matrices,
            inverse_map=False,
            interp_type=dali.types.INTERP_LINEAR,
            fill_value=fill,
        )

    if fill is not None:
        return warp(images, fill)
    # DALI fills with one value for all channels and images: 0, as each one's mean is subtracted before.
    mask = np.repeat(border_mask(size, size)[:, :, None], channels, axis=2).astype(np.float32)
    weights = dali.types.Constant(mask / mask[:, :, 0].sum(), device="gpu" if on_gpu else "cpu")
    border = dali.fn.cast(images, dtype=dali.types.FLOAT) * weights
    mean = dali.fn.reductions.sum(border, axes=[0, 1], keep_dims=True)
    return dali.fn.cast(warp(images - mean, 0) + mean, dtype=dali.types.UINT8)


def _coarsen(dali: Any, images: Any, coarse: Any, size: int) -> Any:
    return _resize(dali, _resize(dali, images, coarse), [size, size])


def _recolour(dali: Any, images: Any, colours: Any, channels: int) -> Any:
    brightness, contrast, saturation = (colours[column] for column in range(3))
    if channels == 3:
        return dali.fn.color_twist(images, brightness=brightness, contrast=contrast, saturation=saturation)
    return dali.fn.brightness_contrast(
        images, brightness=brightness, contrast=contrast, contrast_center=CONTRAST_CENTRE
    )


def _on_corners(matrices: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Matrices [B, 2, 3] for pixel centres at whole numbers -> for centres at halves, which DALI uses."""
    moved = matrices.copy()
    moved[:, :, 2] += 0.5 - matrices[:, :, :2].sum(axis=2) / 2
    return moved
