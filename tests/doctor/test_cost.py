"""When waiting is worth a warning."""

from partialfc.doctor import Level
from partialfc.doctor.cost import Waiting


def test_waiting_is_judged_by_its_share_and_by_what_it_costs_in_all():
    assert Waiting(compute=0.1, waiting=3.55, steps=1_224_000).level == Level.RED
    assert Waiting(0.1, 3.55, 1_224_000).describe() == "97% of a step, so 1,241 h in place of 34.0 h"
    assert Waiting(0.1, 3.55, 100).level == Level.YELLOW  # six minutes
    assert Waiting(0.1, 3.55, 10).level == Level.GREEN
    assert Waiting(0.1, 0.05, 1_000_000).level == Level.YELLOW
    assert Waiting(0.1, 0.02, 1_000_000).level == Level.GREEN
