"""How good embeddings are: images become embeddings, pairs become scores, scores become figures.

May import `data`, `distributed`, `files` and `errors`.
"""
