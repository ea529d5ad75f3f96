"""Scores between very many embeddings, exact, in blocks, over the ranks; never all of them in memory.

May import `distributed` and `errors`, and of its own room `bootstrap`.
"""
