"""Work that takes long: shared among processes, which start here, in the order of a range; and how far it is.

May import `data.images` and `errors`.
"""
