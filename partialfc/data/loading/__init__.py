"""Which sample goes where, the workers that read it, and the loaders of batches: the plain one and DALI's.

May import `data.sources`, `data.images`, `data.parallel` and `errors`.
"""
