"""What backbones cost, as text for people or as plain values for programs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from partialfc.backbones.cost import Cost

HEADINGS = ("backbone", "parameters", "FLOPs", "activations", "with checkpointing")


def to_dict(costs: Mapping[str, Cost], **sizes: int) -> dict[str, Any]:
    """sizes: the arguments that all were built for. Activations in bytes."""
    return {**sizes, "backbones": {name: asdict(cost) for name, cost in costs.items()}}


def describe(costs: Mapping[str, Cost], *, embedding_size: int, image_size: int, channels: int) -> str:
    """A table of them; one image's FLOPs and activations."""
    rows = [HEADINGS, *(_row(name, cost) for name, cost in costs.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        f"one image of {image_size}x{image_size}, {channels} channel{'s' if channels > 1 else ''}, "
        f"to an embedding of {embedding_size}"
    ]
    for first, *others in rows:
        cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def _row(name: str, cost: Cost) -> tuple[str, ...]:
    fewer = cost.kept_by_checkpointing
    return (
        name,
        f"{cost.parameters / 1e6:.2f} M",
        f"{cost.flops / 1e9:.2f} G",
        f"{cost.kept / 2**20:.1f} MiB",
        "no blocks" if fewer is None else f"{fewer / 2**20:.1f} MiB",
    )
