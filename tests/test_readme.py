"""What the README shows is what runs."""

import re

import pytest

from tests.paths import ROOT
from tests.processes import for_torchrun, warm_python

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("ranks", [0, 2])
def test_the_library_example_runs_and_learns(tmp_path, ranks):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    if ranks:  # as the text below the example says
        example = example.replace(
            "torch.manual_seed(0)\n", "torch.manual_seed(0)\ntorch.distributed.init_process_group('gloo')\n"
        ).replace("head = ", "backbone = torch.nn.parallel.DistributedDataParallel(backbone)\nhead = ", 1)
        # As docs/how-to/own-loop.md says of the end on CPUs.
        example += "import gc\ndel backbone, head, backbone_optimizer, head_optimizer, loss\ngc.collect()\n"
        example += "torch.distributed.destroy_process_group()\n"
    script = tmp_path / "example.py"
    script.write_text(example)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", ranks]
    result = warm_python().run(*(launcher if ranks else []), script, env=for_torchrun(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    first, last = map(float, re.search(r"loss ([\d.]+) -> ([\d.]+)", result.stdout).groups())
    assert last < first / 2
    each = max(ranks, 1)
    # torchrun's ranks write unbuffered: a line may follow the other rank's number without a break
    taking_part = re.findall(
        rf"(\d{{{len(str(1000 // each))}}}) centres of {10_000 // each} took part", result.stdout
    )
    assert len(taking_part) == each
    assert sum(map(int, taking_part)) == 1000


def test_it_is_short():
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize(
    ("to_add", "place"),
    [
        ("a margin", "partialfc/head/margins"),
        ("a metric", "partialfc/metrics/families.py"),
        ("a source of images", "partialfc/data/sources"),
        ("a rule on which checkpoints are kept", "partialfc/checkpoint"),
    ],
)
def test_it_says_where_things_are_added(to_add, place):
    (row,) = re.findall(rf"^\| {to_add} \| `([^`]+)`", README, flags=re.MULTILINE)
    assert row.startswith(place)
    assert (ROOT / row).exists()
