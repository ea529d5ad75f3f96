"""The use of a trained network after its run: loaded, to compare images, to rate them, and to be exported.

May import `backbones`, `checkpoint`, `data`, `distributed`, `evaluation`, `head`, `occlusion`, `serving`,
`uncertainty` and `errors`; it knows no config.
"""
