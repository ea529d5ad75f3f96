"""What a run trains: one file an objective, of which the loop asks the loss of a batch.

An objective is thin: the system itself is a room of its own, usable without a config, and here it meets the
run. `builders/objectives.py` chooses one by the config's `objective`.

May import what `training` may, but neither the loop nor the builders of the run's state.
"""
