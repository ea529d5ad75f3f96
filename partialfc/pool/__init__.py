"""The dynamic class pool: the features of the classes seen last, in place of a centre for every class.

`class_pool.py` is the pool as a module, `recent_classes.py` which class lies where in it, `classified.py` the
margin softmax of samples whose class is in the pool, `hard_negatives.py` the loss of the others, `gallery.py`
the network that gives the features. Each works without a config.

May import `head`, whose arithmetic it uses for rows that no gradient moves, and `distributed`.
"""

from partialfc.pool.class_pool import DynamicClassPool
from partialfc.pool.gallery import GalleryNetwork

__all__ = ["DynamicClassPool", "GalleryNetwork"]
