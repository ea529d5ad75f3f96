"""Imported last into a process that others are forked from: what is there by then is never collected.

Else the first garbage collection in each child would write to, and so copy, every page of what was imported:
a quarter of a second.
"""

import gc

gc.collect()
gc.freeze()
