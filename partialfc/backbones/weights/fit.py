"""Which tensors of a file are a backbone's: found where people keep them, and taken if they fit exactly.

A state dict may lie within a training checkpoint, its names may begin with what a wrapper or a larger model
put before them, and a classifier's head may lie beside the backbone's tensors.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

DEPTH = 3  # how deep a state dict may lie within others
WRAPPERS = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")  # of torch itself
COUNTER = "num_batches_tracked"  # which files from before torch 0.4.1 lack; nothing depends on it


@dataclass(frozen=True)
class Candidate:
    """A state dict of a file, compared with a network's: where it lies, and what precedes its names."""

    where: tuple[str, ...]
    prefix: str
    tensors: Mapping[str, Tensor]  # those below the prefix, which is cut off
    expected: Mapping[str, torch.Size]
    embedding_size: int

    @cached_property
    def missing(self) -> list[str]:
        """Names of the network that are not in the file."""
        return [n for n in self.expected if n not in self.tensors and not n.endswith(COUNTER)]

    @cached_property
    def differing(self) -> list[str]:
        """Names whose tensor has another shape in the file."""
        return [n for n in self.expected if n in self.tensors and self.tensors[n].shape != self.expected[n]]

    @cached_property
    def without_place(self) -> list[str]:
        """Names of the file that the network does not have, and that are no classifier's head."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            if name not in self.expected:
                parts.setdefault(name.split(".")[0], {})[name] = tensor
        own = {name.split(".")[0] for name in self.expected}
        return [n for part, found in parts.items() if part in own or not self._is_head(found) for n in found]

    @property
    def fits(self) -> bool:
        return not (self.missing or self.differing or self.without_place)

    @property
    def matched(self) -> int:
        """How many of the network's tensors are in the file, with their shape."""
        return sum(1 for name in self.expected if name in self.tensors) - len(self.differing)

    def state_dict(self) -> dict[str, Tensor]:
        """The network's tensors alone."""
        return {name: tensor for name, tensor in self.tensors.items() if name in self.expected}

    def __str__(self) -> str:
        """Where it is, in the words of a message."""
        place = "".join(f"[{key!r}]" for key in self.where)
        prefix = f", names that begin with {self.prefix!r}" if self.prefix else ""
        return f"{place or 'the file itself'}{prefix}"

    def _is_head(self, part: Mapping[str, Tensor]) -> bool:
        """Whether a part is a classifier: a matrix from embeddings to classes, and at most a bias."""
        matrices = [tensor for tensor in part.values() if tensor.dim() == 2]
        small = all(tensor.dim() <= 2 for tensor in part.values()) and len(part) <= 3
        return small and len(matrices) == 1 and self.embedding_size in matrices[0].shape


def plain_name(name: str) -> str:
    """A parameter's name without what torch.compile and the like put into it."""
    return WRAPPERS.sub("", name)


def candidates(content: Any, expected: Mapping[str, torch.Size], embedding_size: int) -> list[Candidate]:
    """Every state dict in a file's content, with every prefix that leads to some name of `expected`.

    expected: the shapes of the network's state dict by plain name. The best comes first.
    """
    found = []
    for where, tensors in _state_dicts(content, ()):
        for prefix in _prefixes(tensors, expected):
            below = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            found.append(Candidate(where, prefix, below, expected, embedding_size))
    return sorted(found, key=lambda each: (not each.fits, -each.matched, len(each.without_place)))


def same_tensors(first: Candidate, second: Candidate) -> bool:
    """Whether both give the network the same numbers."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _state_dicts(content: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """The mappings with tensors in them, up to DEPTH: where each lies, and its tensors by name."""
    if not isinstance(content, Mapping):
        return
    tensors = {plain_name(k): v for k, v in content.items() if isinstance(k, str) and _is_plain(v)}
    if tensors:
        yield where, tensors
    if len(where) < DEPTH:
        for key, value in content.items():
            yield from _state_dicts(value, (*where, str(key)))


def _is_plain(value: object) -> bool:
    if not isinstance(value, Tensor) or value.is_meta:
        return False
    return value.layout == torch.strided and not value.is_quantized


def _prefixes(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> list[str]:
    """What precedes names of the network in those of the file, the most frequent first."""
    count: Counter[str] = Counter()
    for name in tensors:
        starts = [0, *(dot.end() for dot in re.finditer(r"\.", name))]
        count.update(name[:start] for start in starts if name[start:] in expected)
    return [prefix for prefix, _ in count.most_common(8)]
