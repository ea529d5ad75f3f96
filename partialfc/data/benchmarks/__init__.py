"""What published benchmarks of faces and products look like on disk: who is on which image, in which part.

May import `data.sources`, `data.images`, `data.align`, `errors` and `files`.
"""
