"""Programs that hold a run's figures, one file each: TensorBoard, Trackio, Weights & Biases, MLflow.

`trackers.py` gives the figures to those that a run wants. May import `errors` and `files`.
"""

from partialfc.metrics.trackers.trackers import TRACKERS, Trackers

__all__ = ["TRACKERS", "Trackers"]
