"""Margins: how a sample's logits follow from cosines, one file a family, each class a subclass of `Margin`.

`base.py` is the interface. A new margin is a class in its family's file, or in a new file beside it, and a
name in `partialfc/__init__.py`; for configs, a variant in config/margin.py and an entry of MARGINS in
training/builders/head.py, which passes all its keys. Its tests go into a file of the same name in
`tests/head/margins`. The rest of the head knows nothing but `Margin` and stays as it is.

May import `head.arguments` alone: no communication, no config.
"""
