"""The commands of `partialfc plot`, one file a command.

May import everything; nothing but `cli/app.py` imports it.
"""
