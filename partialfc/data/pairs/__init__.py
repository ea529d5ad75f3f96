"""Verification pairs: their files, read without trusting their pickles, and how pairs are drawn.

May import `data.sources`, `data.images`, `files`, `unpickling` and `errors`.
"""
