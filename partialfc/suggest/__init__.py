"""A config for images and a machine that were looked at: what is found, rules for each key, the reasons.

The rules (`network.py`, `head.py`, `learning.py`, `loading.py`, `held_out.py`) are tables and small functions
of plain arguments; `suggestion.py` puts them together, `write.py` writes the files, and `train.py` trains at
once.

May import `config`, `data`, `distributed`, `doctor`, `plan`, `training`, `errors` and `files`; only `cli`
imports it.
"""
