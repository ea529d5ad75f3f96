"""The use of a trained network after its run: its backbone is loaded from a checkpoint.

May import `backbones`, `checkpoint` and `errors`; it knows no config.
"""
