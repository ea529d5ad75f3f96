"""Without an extra, what needs it says so in one line, and nothing else needs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from partialfc.data.images.codec import encode_jpeg, encode_png
from tests import train_cases
from tests.processes import ENVIRONMENT, warm_python
from tests.serving.cases import pictures, write_onnx, write_pictures

PLAN = ("plan", "--classes", "10M", "--embedding", "512", "--memory", "80GB", "--batch", "128")


def call(folder: Path, missing: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm_python().run(
        "-m", "tests.without", ",".join(missing), *arguments, env=ENVIRONMENT, cwd=folder
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a run of one recorded step, `run`."""
    record = {"event": "train", "step": 1, "loss": 2.0, "seconds": 0.5, "target_angle_histogram": [0, 1]}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        (["matplotlib"], ("report", "run", "--picture", "a.png"), "plot"),
        (["matplotlib"], (*PLAN, "--plot", "a.png"), "plot"),
        (["matplotlib"], ("plot", "margins", "a.png"), "plot"),
        (["matplotlib"], ("plot", "angles", "run"), "plot"),
        (["matplotlib"], ("plot", "embeddings", "a.png"), "glyphs"),
        (["fontTools"], ("plot", "embeddings", "a.png"), "glyphs"),
        (["matplotlib"], ("data", "glyphs", "out"), "glyphs"),
        (["fontTools"], ("data", "glyphs", "out"), "glyphs"),
        (["fastapi"], ("serve", "model.onnx"), "serve"),
        (["uvicorn"], ("serve", "model.onnx"), "serve"),
        (["python_multipart"], ("serve", "model.onnx"), "serve"),
        (["aiohttp"], ("data", "stats", "http://127.0.0.1/a.tar"), "http"),
        (["scipy"], ("plot", "reject", "run", "--pairs", "a.mat"), "mat"),
    ],
)
def test_a_command_names_the_extra_that_it_needs(
    run: Path, missing: list[str], arguments: tuple[str, ...], extra: str
) -> None:
    done = call(run, missing, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("partialfc: MissingExtraError: ")
    assert f"pip install 'partialfc[{extra}]'" in done.stderr
    assert sorted(path.name for path in run.iterdir()) == ["run"]
    assert [path.name for path in (run / "run").iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        (["faiss"], ("gallery", "build", "g", "small.onnx", "images", "--index", "faiss"), "faiss"),
        (["pyarrow"], ("embed", "small.onnx", "images", "-o", "rows.parquet"), "parquet"),
        (["uvicorn"], ("serve", "small.onnx"), "serve"),
    ],
    ids=["faiss", "parquet", "serve"],
)
def test_without_torch_an_extra_is_installed_without_it(tmp_path, missing, arguments, extra) -> None:
    write_onnx(tmp_path / "small.onnx")
    write_pictures(tmp_path / "images", pictures(2))
    command = [sys.executable, "-m", "tests.without", ",".join(["torch", *missing]), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd=tmp_path)
    assert done.returncode == 1
    says = f"python -m partialfc.serving.requirements {extra} > needed.txt && pip install -r needed.txt"
    assert says in done.stderr
    assert "partialfc[" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "small.onnx"]


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio", "wandb", "mlflow"])
def test_a_tracker_names_its_extra(tmp_path: Path, tracker: str) -> None:
    config = train_cases.saved_config(tmp_path, f"train.trackers=[{tracker}]")
    done = call(tmp_path, [tracker], "train", str(config))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"partialfc: MissingExtraError: train.trackers: {tracker}: not installed")
    assert line.endswith(f"pip install 'partialfc[{tracker}]'")


def test_trackers_that_are_missing_are_named_together_before_another_one_begins(tmp_path: Path) -> None:
    config = train_cases.saved_config(tmp_path, "train.trackers=[tensorboard, wandb, mlflow]")
    done = call(tmp_path, ["wandb", "mlflow"], "train", str(config))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("wandb and mlflow: not installed: pip install 'partialfc[wandb,mlflow]'")
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_the_doctor_names_the_extra_of_each_tracker(tmp_path: Path) -> None:
    config = train_cases.saved_config(tmp_path, "train.trackers=[trackio, tensorboard, mlflow]")
    done = call(tmp_path, ["trackio", "mlflow"], "doctor", "--quick", str(config))
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if "train.trackers" in line)
    assert "pip install 'partialfc[trackio]'" in line
    assert "pip install 'partialfc[mlflow]'" in line


@pytest.mark.parametrize("missing", ["timm", "torchvision"])
def test_a_backbone_of_timm_names_the_extra(tmp_path: Path, missing: str) -> None:
    config = train_cases.saved_config(tmp_path, "backbone.name=timm:test_resnet")
    done = call(tmp_path, [missing], "backbones", str(config))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "partialfc: MissingExtraError: backbones timm:NAME need timm and torchvision"
    )
    assert done.stderr.rstrip().endswith("pip install 'partialfc[timm]'")


def test_nothing_else_needs_an_extra(tmp_path: Path) -> None:
    """Trained, verified, packed and planned in a plain installation."""
    missing = [
        "matplotlib",
        "fontTools",
        "tensorboard",
        "trackio",
        "wandb",
        "mlflow",
        "nvidia",
        "timm",
        "torchvision",
        "pyarrow",
        "aiohttp",
        "scipy",
    ]
    train_cases.write_data(tmp_path)
    config = train_cases.small_config(
        tmp_path,
        backbone={"name": "convnet", "embedding_size": 16},
        verification={"sets": {"seen": "pairs.bin"}, "every_steps": 2, "folds": 2},
    )
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(json.loads(config.model_dump_json())))
    for arguments in (
        ("data", "pairs", "train.rec", "pairs.bin", "--pairs", "20"),
        ("train", "config.yaml", "train.steps=3"),
        ("evaluate", "run", "--pairs", "pairs.bin", "--folds", "2"),
        PLAN,
    ):
        done = call(tmp_path, missing, *arguments)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encode", [encode_jpeg, encode_png], ids=["jpeg", "png"])
def test_jpegs_of_the_right_size_need_no_opencv(tmp_path, encode):
    """As on a GPU machine without a network; in a process that has imported nothing before."""
    train_cases.write_data(tmp_path, encode=encode)
    config = train_cases.saved_config(tmp_path, "train.steps=3")
    command = [sys.executable, "-m", "tests.without", "cv2", "train", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd=tmp_path)
    if encode is encode_jpeg:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert "MissingExtraError: " in done.stderr.splitlines()[-1]
        assert "OpenCV cannot be imported" in done.stderr
        assert "pip install opencv-python-headless" in done.stderr
