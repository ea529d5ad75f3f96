"""The picture of a run: what it shows of one without centres, of a loss below 0, and of folds of its own."""

import numpy as np
import pytest

from partialfc.evaluation.verification import verify
from partialfc.report.figure import new_figure
from partialfc.report.run_picture import _draw_angles, _draw_loss, _draw_roc
from partialfc.report.saved_scores import read_scores


def records(losses, angles):
    return [
        {"step": step, "loss": loss, "target_angle_histogram": angles}
        for step, loss in enumerate(losses, start=1)
    ]


def test_a_loss_below_0_is_within_its_panel():
    _, axes = new_figure(1, width=4, height=4)
    _draw_loss(axes, records([-20.0, -150.0], [0, 0]))
    low, high = axes.get_ylim()
    assert low < -150 < -20 < high


def test_a_loss_above_0_begins_at_0():
    _, axes = new_figure(1, width=4, height=4)
    _draw_loss(axes, records([9.0, 3.0], [0, 1]))
    assert axes.get_ylim()[0] == 0


def test_without_centres_it_says_so_and_has_no_legend():
    _, axes = new_figure(1, width=4, height=4)
    _draw_angles(axes, records([1.0, 2.0], [0, 0]))
    assert [text.get_text() for text in axes.texts] == ["no centres"]
    assert axes.get_legend() is None


@pytest.mark.parametrize("pairs", [200, 6])
def test_the_accuracy_is_that_of_the_sets_own_folds(tmp_path, pairs):
    rng = np.random.default_rng(0)
    same, folds = np.arange(pairs) % 2 == 0, np.arange(pairs) % 3
    scores = rng.normal(0.2 + 0.3 * same, 0.3) + 0.2 * folds
    np.savez(tmp_path / "set.latest.npz", scores=scores, same=same, folds=folds, step=7)
    _, axes = new_figure(1, width=4, height=4)
    _draw_roc(axes, [read_scores(tmp_path / "set.latest.npz", "set")])
    (label,) = (text.get_text() for text in axes.get_legend().get_texts())
    assert label == f"set, step 7: {verify(scores, same, folds=folds).accuracy:.1%} of pairs"
