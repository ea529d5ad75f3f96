"""The directions of a source's embeddings."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from partialfc.data.benchmarks.image_set import of_source
from partialfc.data.sources.source import open_source
from partialfc.deploy.class_centres import centres_of
from partialfc.deploy.trained import load_trained
from partialfc.deploy.unit_embeddings import unit_embeddings
from partialfc.errors import ConfigError, DataError
from partialfc.evaluation.embed import embed
from tests.train_cases import small_config, write_data
from tests.training.cases import run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    write_data(folder)
    head = {"margin": {"name": "arcface", "scale": 16, "margin": 0.2}, "sub_centers": 2}
    run(small_config(folder, head=head, backbone={"name": "convnet", "options": {"widths": [8, 8]}}))
    return folder


def test_they_are_those_of_all_images_in_parts_too(folder, monkeypatch):
    monkeypatch.setattr("partialfc.evaluation.embed.BATCHES", 2)
    trained, images = load_trained(folder / "run"), of_source(open_source(folder / "train.rec"))
    seen = []
    found = unit_embeddings(
        trained, images, batch_size=7, device=CPU, progress=lambda *each: seen.append(each)
    )
    expected = embed(trained.backbone, images, image_size=8, channels=1, device=CPU)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), normalize(expected), atol=1e-3, rtol=0)
    assert seen[0] == ("embedding", 14, 120)
    assert seen[-1] == ("embedding", 120, 120)


def test_an_embedding_without_a_direction_is_named(folder):
    trained = load_trained(folder / "run")
    images = of_source(open_source(folder / "train.rec"))
    broken = replace(trained, backbone=torch.nn.Sequential(torch.nn.Flatten(), Zeros()))
    with pytest.raises(DataError, match=r"train\.rec record 4 is zero or not finite"):
        unit_embeddings(broken, images, device=CPU)


class Zeros(torch.nn.Module):
    """Embeddings of which the fourth is 0."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        rows = pixels[:, :16].clone()
        rows[3] = 0
        return rows


def test_centres_are_those_of_the_source_by_its_class_ids(folder, tmp_path):
    trained, source = load_trained(folder / "run"), open_source(folder / "train.rec")
    assert torch.equal(centres_of(trained, source), trained.centres())
    assert trained.centres().shape == (20, 2, 16)
    fewer = open_source(write_data(tmp_path, 5))
    with pytest.raises(ConfigError, match=r"has 5 classes, and .* was trained on 20"):
        centres_of(trained, fewer)
