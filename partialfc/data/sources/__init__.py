"""What a sample is: encoded images and class ids, from folders and RecordIO; `source.py` chooses by path.

A new source is a class with the methods of `Source`, in a file of its own, and a case in `open_source`; both
are in `source.py`. One whose class ids follow from what it finds needs them kept for a resume, as an image
folder's are in training/builders/data.py.

May import `data.images`, `data.parallel`, `files` and `errors`; only `checked_images.py`, for packing,
looks at pixels.
"""
