"""Which rows took part lately."""

import torch

from partialfc.metrics.touched import Touched


def test_touched_rows_are_those_of_the_last_steps():
    touched = Touched(10, window=3)
    assert touched.ratio(0) == 0.0
    shares = []
    for step, some in enumerate([[0, 1], [1, 2], [1, 9], [3]], start=1):
        touched.add(step, torch.tensor(some).numpy())
        shares.append(touched.ratio(step))
    assert shares == [0.2, 0.3, 0.4, 0.4]  # row 0 of step 1 is forgotten in step 4
    touched.add(5, None)
    assert touched.ratio(7) == 1.0
    assert touched.ratio(8) == 0.0
    assert Touched(0, window=3).ratio(1) == 1.0  # a rank without classes misses none
