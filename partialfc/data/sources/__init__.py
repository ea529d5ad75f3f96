"""What a sample is: encoded images and class ids, from folders and RecordIO; `source.py` chooses by path.

May import `data.images`, `files` and `errors`; only `pack.py`, which checks images, looks at pixels.
"""
