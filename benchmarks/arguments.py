"""The arguments that the measurements of the head's step share."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import dense_twin
import peer
from groups import Build


def parser_of(description: str | None, *, cases: Sequence[str]) -> argparse.ArgumentParser:
    """A parser for which cases to measure, how often and on how many threads, and where to write the rows."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=cases, default=cases)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--shrink", type=int, default=1, help="divide the classes by this, for a trial")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or another that torch has")
    parser.add_argument("--batch", type=int, default=256, help="the global batch")
    parser.add_argument("--output", type=Path, help="CSV file; without it the rows go to the screen only")
    return parser


def add_peer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer", type=Path, help="a checkout's recognition/arcface_torch")


def other_of(options: argparse.Namespace) -> tuple[str, Build]:
    """The implementation to compare with, and its name: the peer where it is given, else the dense twin."""
    if options.peer:
        return peer.NAME, peer.at(options.peer)
    return dense_twin.NAME, dense_twin.DenseTwin
