"""Whole runs on batches of identities: whatever the number of ranks, and where the data has too few."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partialfc.data.sources.recordio import Header, pack
from partialfc.errors import ConfigError, RecordError
from partialfc.training.builders.data import build_loader_from, read_training_source
from tests.data.sources.cases import png
from tests.data.sources.records import write_records
from tests.train_cases import small_config
from tests.training.cases import EXACT, losses, moved, run, stop_after_seven

BATCHES = {"sampler": "identities", "images_per_identity": 4}


def batches(folder: Path, count: int, **data: object) -> list[list[int]]:
    """The labels of the first batches of 24."""
    config = small_config(folder, data=BATCHES | data)
    with build_loader_from(
        config.data,
        read_training_source(config.data, config.run.dir),
        torch.device("cpu"),
        num_classes=20,
        batch_size=24,
        seed=0,
        rank=0,
        world_size=1,
        position=0,
    ) as loader:
        return [next(loader)[1].tolist() for _ in range(count)]


def test_a_run_reads_whole_identities(folder):
    for labels in batches(folder, 12):
        assert sorted(np.bincount(labels, minlength=20)) == [0] * 14 + [4] * 6


def test_two_ranks_write_and_three_resume_on_the_same_batches(run_ranks, folder):
    whole, parts = moved(folder, "whole"), moved(folder, "parts")
    run_ranks(run, 1, small_config(whole, **EXACT, data=BATCHES))
    config = small_config(parts, **EXACT, data=BATCHES)
    run_ranks(stop_after_seven, 2, config)
    run_ranks(run, 3, config)
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-9)


def test_too_few_identities_are_refused_before_the_first_step(folder):
    with pytest.raises(
        ConfigError, match=r"needs 24 identities, and the data has images of 20: .*batch_size"
    ):
        run(small_config(folder, data={"sampler": "identities", "images_per_identity": 1}))


def test_a_damaged_record_has_no_identity_and_counts_as_bad(tmp_path: Path, caplog) -> None:
    records = {key: pack(Header(0, (key // 5,), key), png(key)) for key in range(100)}
    (tmp_path / "property").write_text("20,8,8\n")
    write_records(tmp_path / "train.rec", records | {7: b"short", 50: b"short"})
    with pytest.raises(RecordError, match=r"train\.rec record 7: payload of 5 bytes"):
        batches(tmp_path, 1)
    with pytest.raises(RecordError, match=r"record 50: .*max_bad_records is 1, and that many were skipped"):
        batches(tmp_path, 1, max_bad_records=1)
    assert len(batches(tmp_path, 20, max_bad_records=2)) == 20
    assert "2 records are damaged, such as" in caplog.text
