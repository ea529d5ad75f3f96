"""What a sample is: encoded images and class ids, from files; `source.py` chooses by path.

A new source is a class with the methods of `Labelled` (labelled.py), in a file of its own, most easily a
subclass of `IndexedSource`; and a case in `open_source`. `merged.py` puts several together, `selected.py`
takes some of the images.

May import `data.images`, `data.parallel`, `files` and `errors`; only `checked_images.py`, for packing,
looks at pixels.
"""
