"""The `partialfc` command: one file a command, options in and text out, no logic of its own.

May import everything; nothing imports it. What a command needs is imported when it runs, which keeps `--help`
fast.
"""
