"""What a sample is: encoded images and class ids, from folders and RecordIO; `source.py` chooses by path.

May import `files` and `errors`; pixels are looked at only where a folder is packed.
"""
