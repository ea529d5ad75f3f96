"""From the sections of a config to the objects that a run is made of, a file for each kind of object.

May import what `training` may, and of `training` itself what builds nothing: `classes`, `requirements`,
`run_state`, `schedule`.
"""
