"""The metrics of a run for Prometheus, also from your own training loop; and the run's log, metrics.jsonl.

May import `head`, `evaluation`, `distributed`, `files` and `errors`.
"""

from partialfc.metrics.families import FAMILIES, Family
from partialfc.metrics.head import HeadMetrics, HeadValues
from partialfc.metrics.registry import Registry
from partialfc.metrics.server import Server

__all__ = ["FAMILIES", "Family", "HeadMetrics", "HeadValues", "Registry", "Server"]
