"""A gallery: embeddings with names in a folder, and the exact search among them.

`gallery.py` opens and searches one, `update.py` changes it. `manifest.py` says which files it consists of,
`segments.py` what is in them, `top_k.py` finds the best rows, `products.py` multiplies blocks of them.

May import `serving` and what that may, but for `serving.service`.
"""
