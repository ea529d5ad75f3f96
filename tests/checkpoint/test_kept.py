"""What is kept of a run's checkpoints, and what is tried first."""

from partialfc.checkpoint.kept import superseded, tried_in_order

NAMES = ["step-00000002", "step-00000004", "step-00000001", "step-00000003"]


def test_the_newest_and_the_best_are_kept():
    assert superseded(NAMES, keep_last=2, best=None) == ["step-00000002", "step-00000001"]
    assert superseded(NAMES, keep_last=2, best="step-00000001") == ["step-00000002"]
    assert superseded(NAMES, keep_last=9, best=None) == []


def test_what_latest_names_is_tried_first_and_then_the_newest():
    newest_first = sorted(NAMES, reverse=True)
    assert tried_in_order(NAMES, latest=None) == newest_first
    assert tried_in_order(NAMES, latest="step-00000009") == newest_first
    assert tried_in_order(NAMES, latest="step-00000003") == [
        "step-00000003",
        "step-00000004",
        "step-00000002",
        "step-00000001",
    ]
