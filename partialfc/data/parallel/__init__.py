"""Work that is shared among processes: how these start, and the same work for each part of a range, in order.

May import `data.images` and `errors`.
"""
