"""A real data set of thousands of classes without a download: characters, as installed fonts draw them.

May import the rest of `data`, `files` and `errors`. Needs the extra `glyphs`.
"""
