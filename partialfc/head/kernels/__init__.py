"""The element-wise parts of a step, compiled; how rows are stored, cut into chunks, and what they owe.

May import `errors` and `distributed.accelerator` alone, and never a module of `head` outside this folder.
"""
