"""What `partialfc report` opens besides a run's log: its config, pairs, checkpoint and training data.

`opened.py` makes a run of a folder, `looks.py` what the checkpoint gives. May import all.
"""
