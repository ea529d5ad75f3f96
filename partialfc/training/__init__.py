"""The training loop and what belongs to a run: the objects that a config builds, schedule, folder, progress.

May import everything but `cli` and `doctor`, which alone import it.
"""
