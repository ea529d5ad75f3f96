"""The page of `partialfc report`: what a run's files hold, as charts, tables and images.

A file for each panel: numbers and arrays in, `Chart`s and HTML out. `log.py` reads a run, `chart.py` says
what a chart is, `assets.py` holds the script and the style that draw it, and `page.py` puts all together.

May import what `report` may, and the rest of `report`.
"""
