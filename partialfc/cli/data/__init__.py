"""The commands of `partialfc data`, one file a command.

May import everything; nothing but `cli/app.py` imports it.
"""
