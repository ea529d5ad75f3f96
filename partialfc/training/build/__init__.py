"""From the sections of a config to the objects that a run is made of, a file for each kind of object.

May import what `training` may; within it only `classes`, `requirements` and `schedule`.
"""
