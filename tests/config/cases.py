"""A small and a full config, and short ways to read one."""

from pathlib import Path

import pytest
import yaml

from partialfc.config import Config, load_config, parse_config
from partialfc.errors import ConfigError

SMALL = """
run: {dir: runs/one}
data: {train: faces.rec}
backbone: {name: iresnet50}
optimizer: {lr: 0.1}
train: {batch_size: 128, epochs: 3}
"""

FULL = """
# Every section, in the notations people use.
run:
  dir: runs/full
  seed: 0x1F
data:
  train: /data/ms1m/train.rec
  num_classes: 10_000_000
  image_size: 96
  channels: 1
  workers: 4
  augment: {flip: true, shift: .1, scale: 0.2, rotate: 15, fill: 128}
  timeout_seconds: 30
backbone:
  name: "my.package:build"
  embedding_size: 256
  options: {depth: [3, 4, 14, 3], dropout: 4e-1, fp16: null, stem: {kernel: 3}}
  compile: true
  channels_last: true
  weights: start.pt
head:
  margin: {name: combined, m1: 1.0, m2: 0.3, m3: 0.2, scale: 48, margin_gradient: straight_through}
  sample_rate: 0.1
  compute_dtype: bfloat16
  unsampled: frozen
optimizer: {name: adamw, lr: 1e-3, betas: [0.9, 0.98], eps: 1E-6, weight_decay: 5e-2, head_lr: 2.e-3}
schedule: {name: cosine, warmup_epochs: 0.5, final_lr_ratio: 0.01}
train: {batch_size: 1_024, steps: 200_000, accumulation: 2, clip_norm: null, amp: bfloat16, device: cuda}
checkpoint: {every_steps: 5000, keep_last: 3, resume: never}
verification: {sets: {lfw: lfw.bin, agedb_30: agedb_30.bin}, every_epochs: .5, at_start: true, best: agedb_30}
"""


def load(tmp_path: Path, text: str | bytes, *overrides: str) -> Config:
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(path, overrides)


def small(*overrides: str) -> Config:
    return parse_config(yaml.safe_load(SMALL), overrides, "small.yaml")


def failure(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        small(*overrides)
    return str(error.value)
