"""The protocols of `partialfc evaluate`, one file each: their options, and what they measure and print.

May import all that `cli` may.
"""
