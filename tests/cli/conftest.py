"""A folder with a small data set and the config of a run on it."""

import json

import pytest
import yaml

from tests import train_cases


@pytest.fixture
def folder(tmp_path):
    train_cases.write_data(tmp_path)
    config = yaml.safe_load(json.dumps(train_cases.small_config(tmp_path).model_dump(mode="json")))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path
