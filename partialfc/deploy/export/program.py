"""The graph as a .pt2 file of torch.export: a program that torch runs without this package."""

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor

from partialfc.deploy.export.check import Rows
from partialfc.deploy.export.graph import Graph
from partialfc.errors import ExportError, in_one_line
from partialfc.serving.card import CARD_FILE, Card


def write_program(graph: Graph, path: Path, card: Card) -> None:
    """Write it, for a batch of any size, with the card as an extra file.

    Raises ExportError where torch cannot export the network.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                graph, (graph.examples(2),), dynamic_shapes=({0: torch.export.Dim("n", min=1)},)
            )
        except Exception as error:  # of many kinds, whatever the network is made of
            raise ExportError(
                f"torch.export cannot take this network: {type(error).__name__}: {in_one_line(error)}"
            ) from error
        buffer = io.BytesIO()  # torch wants the name to end in .pt2, which a file beside another one does not
        torch.export.save(program, buffer, extra_files={CARD_FILE: card.to_json()})
    path.write_bytes(buffer.getvalue())


class Program:
    """A .pt2 file that this process wrote, ready to be run."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._module = torch.export.load(io.BytesIO(path.read_bytes())).module()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Rows:
        given = self._module(images)
        return [each.numpy() for each in (given if isinstance(given, tuple | list) else (given,))]
