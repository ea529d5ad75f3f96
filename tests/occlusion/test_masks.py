import numpy as np
import pytest
import torch

from partialfc.errors import ConfigError
from partialfc.occlusion.masks import Candidates, check_grid, draws, halves, random_halves, regions


def test_a_region_lies_around_each_cell_and_is_cut_at_the_border():
    found = regions(4, 6, size=0.5, landmarks=None)
    assert found.shape == (24, 4, 6)
    assert found[0].nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]  # 2 x 3 cells around the corner
    assert found[8].nonzero().tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    assert all(mask[row, column] for mask, (row, column) in zip(found, np.ndindex(4, 6), strict=True))


def test_landmarks_are_shares_from_the_left_and_the_top():
    found = regions(4, 4, size=0.25, landmarks=[(0.0, 0.99), (1.0, 0.0), (0.5, 0.25)])
    assert [mask.nonzero().tolist() for mask in found] == [[[3, 0]], [[0, 3]], [[1, 2]]]


@pytest.mark.parametrize("size", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("sides", [(2, 2), (2, 7), (3, 3), (5, 4)], ids=str)
def test_no_region_is_empty_or_all_there_is(size, sides):
    shares = regions(*sides, size=size, landmarks=None).mean((1, 2))
    assert 0 < shares.min() <= shares.max() < 1


def test_halves_are_left_right_top_bottom():
    left, right, top, bottom = halves(3, 4)
    assert (left.sum(0).tolist(), right.sum(0).tolist()) == ([3, 3, 0, 0], [0, 0, 3, 3])
    assert (top.sum(1).tolist(), bottom.sum(1).tolist()) == ([4, 0, 0], [0, 0, 4])


def test_a_random_half_is_half_of_the_cells_and_each_is_as_likely():
    numbers = torch.rand(2000, 2, 9, generator=torch.Generator().manual_seed(0))
    found = random_halves(numbers)
    assert (found.sum(2) == 4).all()
    torch.testing.assert_close(found.mean((0, 1)), torch.full((9,), 4 / 9), atol=0.03, rtol=0)


def test_a_masks_logit_is_the_mean_score_of_its_cells_and_what_is_not_allowed_has_none():
    fixed = torch.tensor([[1.0, 0, 0], [1, 1, 0]])
    candidates = Candidates(fixed, torch.tensor([[[0.0, 1, 1]]]), torch.tensor([[True, True, False]]))
    assert candidates.logits(torch.tensor([[1.0, 2, 6]])).tolist() == [[1, 1.5, -torch.inf]]
    assert candidates.mixed(torch.tensor([[0.5, 0.25, 0.25]])).tolist() == [[0.75, 0.5, 0.25]]


def test_the_draws_of_a_sample_do_not_depend_on_which_rank_has_it():
    whole = draws(7, 3, first=0, count=10, numbers=5)
    assert np.array_equal(draws(7, 3, first=4, count=3, numbers=5), whole[4:7])
    assert not np.array_equal(draws(7, 4, first=0, count=10, numbers=5), whole)
    assert not np.array_equal(draws(8, 3, first=0, count=10, numbers=5), whole)
    assert draws(7, 3, first=4, count=0, numbers=5).shape == (0, 5)


@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (7, 1)], ids=str)
def test_a_map_of_one_line_of_cells_has_no_part_to_hide(sides):
    with pytest.raises(ConfigError, match=f"{sides[0]} x {sides[1]}.*2 x 2"):
        check_grid(*sides)
