"""What the README shows is what runs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partialfc.cli import app as cli
from tests.paths import ROOT

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


def write_classes(folder: Path, *, classes: int, images: int) -> None:
    generator = np.random.default_rng(0)
    for name in range(classes):
        (folder / f"class-{name}").mkdir(parents=True)
        for image in range(images):
            pixels = generator.integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class-{name}" / f"{image}.jpg")


@pytest.fixture
def run_shown(monkeypatch, tmp_path, capfd):
    """`run_shown(line, steps)`: a line of the README at a size for tests, and what it prints."""
    monkeypatch.chdir(tmp_path)
    smaller = {"4": "2", "6000": "40", "configs/folder.yaml": str(ROOT / "configs" / "folder.yaml")}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def run(line: str, steps: int) -> str:
        program, *shown = shlex.split(line, comments=True)
        arguments = [smaller.get(part, part.replace("/path/to", str(tmp_path))) for part in shown]
        if "train" in arguments:
            arguments += [f"train.steps={steps}", "train.epochs=null", "schedule.warmup_epochs=null"]
            arguments += ["train.batch_size=4", "data.workers=0", "metrics.port=null"]
        if program == "torchrun":
            launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            code = subprocess.run([*launcher, *arguments], env=environment, check=False).returncode
        else:
            monkeypatch.setattr(sys, "argv", [program, *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            code = ended.value.code
        printed = capfd.readouterr()
        assert code == 0, printed.err
        return printed.out

    return run


@pytest.mark.slow
def test_the_commands_for_your_own_images_run_one_after_the_other(run_shown, tmp_path):
    write_classes(tmp_path / "images", classes=3, images=4)
    write_classes(tmp_path / "other" / "classes", classes=3, images=6)
    section = README.split("## Train on your own images")[1].split("\n## ")[0]
    shown = "".join(re.findall(r"```bash\n(.*?)```", section, flags=re.DOTALL)).splitlines()
    printed = "".join(run_shown(line, steps=number) for number, line in enumerate(shown, start=1))
    assert "1 rank on cpu; 1 steps of 4 images" in printed
    assert re.search(r"2 ranks on cpu; \d steps of 4 images, resumed at step \d", printed)
    assert "40 pairs, 20 genuine" in printed
    assert (tmp_path / "runs" / "mine" / "report.png").exists()
    assert "12 images of 3 classes" in printed


def test_every_file_the_readme_names_is_there():
    for path in re.findall(r"`((?:configs|tests|partialfc|benchmarks|docs)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(((?!http)[\w./-]+)\)", README):
        assert (ROOT / path).exists(), path
