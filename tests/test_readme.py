"""What the README shows is what runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("ranks", [0, 2])
def test_the_library_example_runs_and_learns(tmp_path, ranks):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    if ranks:  # as the text below the example says
        example = example.replace(
            "torch.manual_seed(0)\n", "torch.manual_seed(0)\ntorch.distributed.init_process_group('gloo')\n"
        ).replace("head = ", "backbone = torch.nn.parallel.DistributedDataParallel(backbone)\nhead = ", 1)
    script = tmp_path / "example.py"
    script.write_text(example)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    result = subprocess.run(
        [sys.executable, *(launcher if ranks else []), str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    first, last = map(float, re.search(r"loss ([\d.]+) -> ([\d.]+)", result.stdout).groups())
    assert last < first / 2
    centres = 1000 // max(ranks, 1)
    assert result.stdout.count(f"{centres} centres of {10_000 // max(ranks, 1)} took part") == max(ranks, 1)


def test_every_file_the_readme_names_is_there():
    for path in re.findall(r"`((?:configs|tests|partialfc|benchmarks|docs)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(((?!http)[\w./-]+)\)", README):
        assert (ROOT / path).exists(), path
