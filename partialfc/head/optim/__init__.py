"""The optimizers that move rows: RowSGD and RowAdamW; sparse gradients for any other.

May import `head`. `head/centres.py` imports `sparse.py` alone of it, so nothing is imported here.
"""
