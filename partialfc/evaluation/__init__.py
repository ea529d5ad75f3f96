"""How good embeddings are: images to embeddings, pairs to scores, scores to figures.

May import `data`, `distributed`, `files` and `errors`.
"""
