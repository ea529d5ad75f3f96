"""What a run, a plan or a look at data came to, drawn and summed up for people.

`page.py` and `sheet.py` make HTML pages and contact sheets of whatever they are given; `run_page` is the page
of a run, whose script draws its curves. PNG pictures need the extra `plot`.

May import `data`, `evaluation`, `metrics`, `plan`, `files` and `errors`.
"""
