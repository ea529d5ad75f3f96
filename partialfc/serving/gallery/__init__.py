"""A gallery: embeddings with names in a folder, and the exact search among them.

`gallery.py` opens and searches one, `update.py` changes its files. `writable.py` changes one while it is
searched, by a log, `changes.py`. `manifest.py` says which files a gallery consists of, `segments.py` what is
in them; `view.py` has these rows with those that were `added.py`. `top_k.py` finds the best rows,
`products.py` multiplies blocks of them.

May import `serving` and what that may, but for `serving.service`.
"""
