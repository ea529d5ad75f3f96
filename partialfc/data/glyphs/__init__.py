"""A real data set of thousands of classes without a download: characters, as installed fonts draw them.

May import `data.sources`, `data.images`, `data.pairs`, `files` and `errors`. Needs the extra `glyphs`.
"""
