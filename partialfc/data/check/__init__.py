"""Looking at a whole source: what is wrong with its images, which are there twice, and what it consists of.

`check.py` looks for what is wrong, `statistics.py` counts, `choose.py` draws some to look at. None of it
changes a source.

May import `data.sources`, `data.images`, `data.parallel`, `files` and `errors`.
"""
