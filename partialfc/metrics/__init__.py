"""What a run tells while it runs: Prometheus metrics, and the means to export them from any training loop.

May import `head`, `evaluation`, `distributed`, `files` and `errors`.
"""

from partialfc.metrics.families import FAMILIES, Family
from partialfc.metrics.head import HeadMetrics
from partialfc.metrics.registry import Registry
from partialfc.metrics.server import Server

__all__ = ["FAMILIES", "Family", "HeadMetrics", "Registry", "Server"]
