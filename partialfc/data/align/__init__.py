"""Crops of faces, laid out alike: from photos and the five landmarks of each face.

May import `data.images`, `data.sources` (which files of a folder are images), `data.parallel` and `errors`.
"""
