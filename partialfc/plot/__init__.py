"""Pictures that explain losses: margins as curves, a small experiment, the angles of runs.

May import `backbones`, `data`, `head`, `metrics`, `report` and `errors`. Pictures need the extra `plot`, the
experiment `glyphs` too.
"""
