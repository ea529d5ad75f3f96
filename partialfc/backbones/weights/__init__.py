"""Weights that a backbone starts from: files as people have them, and what of them fits the network.

May import `backbones` and `errors`.
"""
