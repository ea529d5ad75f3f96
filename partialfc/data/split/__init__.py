"""Which images of a source are held out of training: whole classes, or some images of each.

May import `data.sources`, `files` and `errors`.
"""
