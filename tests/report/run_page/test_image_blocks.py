"""Images on a report's page: how many there are, and that none is there twice."""

import json

import numpy as np
import pytest

from partialfc.report.run_page.hardest import shown_of_each
from partialfc.report.run_page.image_blocks import image_list, map_chart
from partialfc.report.run_page.looks import EmbeddingMap

AXES = ("first", "second")


def drawn(seed: int) -> EmbeddingMap:
    """Of 20 images, which are the same for each seed, elsewhere."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8)
    places = np.random.default_rng(seed).normal(size=(20, 2))
    names = [f"image {number}" for number in range(20)]
    return EmbeddingMap("lfw", 1, AXES, places, np.arange(20) % 4, names, list(pixels))


def test_an_image_that_several_maps_show_is_on_the_page_once():
    images: dict[str, int] = {}
    charts = [map_chart(f"map-{seed}", drawn(seed), title="", images=images) for seed in (1, 2)]
    listed = json.loads(image_list(images).partition(">")[2].partition("<")[0])
    assert len(listed) == len(set(listed)) == 20
    first, second = (
        {point["name"]: listed[point["image"]] for line in chart.points for point in line} for chart in charts
    )
    assert first == second
    assert len(set(first.values())) == 20


def test_a_map_says_of_which_step_it_is():
    assert (
        "20 images of the set lfw, as the network of step 1 embeds them"
        in map_chart("map", drawn(1), title="", images={}).note
    )


@pytest.mark.parametrize(
    ("lists", "most"), [(0, 12), (1, 12), (4, 12), (8, 6), (1000, 3)], ids=["0", "1", "4", "8", "1000"]
)
def test_with_many_runs_and_sets_each_shows_fewer_pairs(lists, most):
    assert shown_of_each(lists) == most
