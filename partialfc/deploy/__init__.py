"""What is done with a trained network after its run: loading it, for now.

May import `backbones`, `checkpoint` and `errors`; it knows no config.
"""
