"""The use of a trained network after its run: loaded from a checkpoint, to compare images and to rate them.

May import `backbones`, `checkpoint`, `data`, `evaluation`, `head`, `uncertainty` and `errors`; it knows no
config.
"""
