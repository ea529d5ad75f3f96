"""The use of a trained network after its run: its backbone and its centres, loaded from a checkpoint.

May import `backbones`, `checkpoint`, `data`, `head` and `errors`; it knows no config.
"""
