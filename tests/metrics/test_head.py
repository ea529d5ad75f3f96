"""What a head counts in a loop of one's own."""

import copy
import pickle

import pytest
import torch

import partialfc
from partialfc.metrics import HeadMetrics, Registry
from tests.metrics.cases import RANK, samples, sum_of, text_of


def test_a_loop_of_ones_own_counts_what_the_head_samples():
    registry = Registry(run="mine", rank=0)
    head = partialfc.PartialFC(4, 50, margin=partialfc.ArcFace(), sample_rate=0.2)
    watched = HeadMetrics(registry, head)
    for _ in range(3):
        head(torch.ones(4, 4), torch.tensor([7, 7, 9, -1]))
    head(torch.ones(2, 4), labels=torch.tensor([1, 2]))
    head.eval()
    head(torch.ones(3, 4), torch.tensor([3, 4, 5]))  # does not count
    head.train()
    head(torch.ones(1, 4), torch.tensor([7]))
    watched.log()
    found = samples(text_of(registry))
    assert found["partialfc_images_total", *RANK] == 3 * 4 + 2 + 1
    assert found["partialfc_sampled_positives_total", *RANK] == 3 * 2 + 2 + 1
    assert found["partialfc_sampled_negatives_total", *RANK] == 3 * 8 + 8 + 9
    assert found["partialfc_target_angle_degrees_count", *RANK] == 1
    assert found["partialfc_embedding_norm", *RANK] == pytest.approx(2.0)
    assert 10 / 50 <= found["partialfc_centres_touched_ratio", *RANK] <= 50 / 50


def test_a_watched_head_is_copied_and_pickled_without_its_watcher():
    registry = Registry(run="mine", rank=0)
    head = partialfc.PartialFC(4, 50, margin=partialfc.ArcFace())
    HeadMetrics(registry, head)
    for each in (copy.deepcopy(head), pickle.loads(pickle.dumps(head)), head):
        each(torch.ones(4, 4), torch.tensor([7, 7, 9, -1]))
    assert samples(text_of(registry))["partialfc_images_total", *RANK] == 4


def test_what_was_measured_is_logged_after_the_next_forward_pass():
    registry = Registry(run="mine", rank=0)
    head = partialfc.PartialFC(4, 50, margin=partialfc.ArcFace(), sample_rate=0.2)
    watched = HeadMetrics(registry, head)
    head(torch.ones(4, 4), torch.tensor([7, 7, 9, -1]))
    values = watched.measure()
    head(3 * torch.ones(2, 4), torch.tensor([1, 2]))
    watched.log(values)
    found = samples(text_of(registry))
    assert found["partialfc_target_angle_degrees_count", *RANK] == 3
    assert found["partialfc_embedding_norm", *RANK] == pytest.approx(2.0)
    assert found["partialfc_centres_touched_ratio", *RANK] == 10 / 50


def test_a_batch_of_ignored_samples_has_no_embedding_norm():
    registry = Registry(run="mine", rank=0)
    head = partialfc.PartialFC(4, 50, margin=partialfc.ArcFace())
    watched = HeadMetrics(registry, head)
    head(torch.ones(4, 4), torch.tensor([-1] * 4))
    watched.log()
    assert sum_of(samples(text_of(registry)), "partialfc_embedding_norm") == 0
    head(torch.ones(4, 4), torch.tensor([1] * 4))
    watched.log()
    head(torch.ones(4, 4), torch.tensor([-1] * 4))
    watched.log()
    assert samples(text_of(registry))["partialfc_embedding_norm", *RANK] == pytest.approx(2.0)
