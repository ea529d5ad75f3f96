"""The command `backbones`: all that are known, or the one of a config."""

import json

import pytest

from partialfc.backbones import BACKBONES
from tests.paths import ROOT
from tests.processes import call


@pytest.mark.slow
def test_all_known_backbones_are_listed_with_what_they_cost_or_why_not():
    done = call("backbones", "--image-size", "15", "--embedding", "128")
    lines = done.stdout.splitlines()
    assert lines[0] == "one image of 15x15, 3 channels, to an embedding of 128"
    transformers = [name for name in BACKBONES if name.startswith("vit_")]
    assert [line.split()[0] for line in lines[2:]] == [name for name in BACKBONES if name not in transformers]
    assert [line.partition(", which is")[0] for line in done.stderr.splitlines()] == [
        f"backbone '{name}': patch_size=8: must be at most half of the image's side" for name in transformers
    ]
    assert all(line.count(" MiB") == 2 for line in lines[2:])


def test_options_on_the_command_line_make_it_smaller():
    file, options = ROOT / "configs" / "vargfacenet.yaml", "backbone.options={widths: [16, 32, 64, 128]}"
    (found,) = json.loads(call("backbones", file, options, "--json").stdout)["backbones"].values()
    assert found["parameters"] < 2_000_000


def test_the_one_of_a_config_has_its_sizes_and_options():
    file, options = ROOT / "configs" / "vit.yaml", "backbone.options={depth: 2, patch_size: 16}"
    found = json.loads(call("backbones", file, options, "data.image_size=64", "--json").stdout)
    assert (found["embedding_size"], found["image_size"], found["channels"]) == (128, 64, 1)
    assert [*found["backbones"]] == ["vit_tiny"]
    # Two blocks, patches, their places, the embedding layer with BN
    parameters = (
        2 * (12 * 192**2 + 13 * 192) + 2 * 192 + (256 + 1) * 192 + 16 * 192 + 16 * 192 * 128 + 2 * 128
    )
    assert found["backbones"]["vit_tiny"]["parameters"] == parameters


def test_a_wrong_option_is_one_line():
    done = call("backbones", ROOT / "configs" / "vit.yaml", "backbone.options={width: 7}")
    assert done.returncode == 1
    rule = "backbone.options.heads=3: must divide width, which is 7"
    assert done.stderr == f"partialfc: ConfigError: backbone 'vit_tiny': {rule}\n"


def test_sizes_beside_a_config_are_refused_together():
    file = ROOT / "configs" / "vit.yaml"
    done = call("backbones", file, "--image-size", 64, "--channels", 3, "--embedding", 512)
    assert (done.returncode, done.stdout) == (1, "")
    says = f"--image-size, --channels, --embedding: only without CONFIG; with {file} write data.image_size=64"
    assert f"ConfigError: {says} data.channels=3 backbone.embedding_size=512" in done.stderr
