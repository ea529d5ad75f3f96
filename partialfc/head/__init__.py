"""The sharded, sampled, exact margin softmax: the reason this project exists.

`partial_fc.py` composes the rest: `step.py` is one batch's arithmetic from top to bottom, `centres.py` holds
the centres between steps, `margins/` has the margins, `kernels/` the compiled parts, `optim/` the optimizers.

May import `distributed` and `errors`.
"""
