"""Images and labels, from files to batches: sources, images, loading, verification pairs, a glyph data set.

May import `files`, `unpickling` and `errors`.
"""
