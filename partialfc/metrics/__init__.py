"""The metrics of a run: for Prometheus, also out of a training loop of one's own; and its log, metrics.jsonl.

May import `head`, `evaluation`, `distributed`, `files` and `errors`.
"""

from partialfc.metrics.families import FAMILIES, Family
from partialfc.metrics.head import HeadMetrics
from partialfc.metrics.registry import Registry
from partialfc.metrics.server import Server

__all__ = ["FAMILIES", "Family", "HeadMetrics", "Registry", "Server"]
