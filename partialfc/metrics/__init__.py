"""Prometheus metrics: what is exported, and the means to export it from any training loop."""

from partialfc.metrics.families import FAMILIES, Family
from partialfc.metrics.head import HeadMetrics
from partialfc.metrics.registry import Registry
from partialfc.metrics.server import Server

__all__ = ["FAMILIES", "Family", "HeadMetrics", "Registry", "Server"]
