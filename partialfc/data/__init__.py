"""Images and labels, from files to batches: sources, images, loading, checks, pairs, a glyph data set.

May import `files`, `unpickling` and `errors`.
"""
