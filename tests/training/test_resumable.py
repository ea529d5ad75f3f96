"""What a checkpoint holds a run to; tests/doctor/test_resume.py compares it with what training refuses."""

import pytest

from partialfc.training.builders.head import MARGINS, build_head_margin
from partialfc.training.resumable import STATE_OF, obstacles
from tests.train_cases import small_config


@pytest.mark.parametrize("name", MARGINS)
def test_what_a_margin_keeps_is_known_by_its_name(tmp_path, name):
    margin = build_head_margin(small_config(tmp_path, f"head.margin={{name: {name}}}").head)
    assert ", ".join(margin.state_dict()) == STATE_OF.get(name, "")


def test_keys_that_older_configs_lack_have_their_defaults(tmp_path):
    now = small_config(tmp_path).model_dump(mode="json")
    old = {**now, "head": {"margin": {"name": "arcface"}}}
    del old["losses"]
    assert obstacles(old, now) == []
    assert obstacles(old, {**now, "head": {**now["head"], "sub_centers": 2}}) == ["head.sub_centers 1 -> 2"]


def test_the_size_of_a_pool_and_the_backbone_below_uncertainty_stay(tmp_path):
    now = small_config(tmp_path).model_dump(mode="json")
    pool = {**now, "head": {**now["head"], "name": "pool", "pool": {"size": 0.1}}}
    larger = {**pool, "head": {**pool["head"], "pool": {"size": 0.2}}}
    assert obstacles(pool, pool) == []
    assert obstacles(pool, larger) == ["head.pool.size 0.1 -> 0.2"]
    pfe = {**now, "objective": {"name": "pfe", "backbone_from": "runs/a"}}
    other = {**now, "objective": {"name": "pfe", "backbone_from": "runs/b"}}
    assert obstacles(pfe, other) == ["objective.backbone_from runs/a -> runs/b"]
