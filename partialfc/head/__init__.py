"""The sharded, sampled, exact margin softmax: the reason this project exists.

May import `distributed` and `errors`. `partial_fc.py` composes the rest.
"""
