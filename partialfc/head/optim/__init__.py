"""The optimizers that move rows: RowSGD and RowAdamW; sparse gradients for any other; several as one.

May import the rest of `head`. `head/centres.py` imports `sparse.py` from here, so this file imports nothing.
"""
