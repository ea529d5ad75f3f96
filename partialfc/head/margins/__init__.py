"""Margins, one file a family: small differentiable functions of the cosine, written forward only.

May import `head.arguments` alone: no communication, no config.
"""
