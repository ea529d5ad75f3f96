"""What an export weighs and how fast it is: by torch, as .onnx in float32, and in 8 bits; with its accuracy.

    python benchmarks/export.py --output benchmarks/export.csv
    python benchmarks/export.py --output benchmarks/export.csv --runs runs/quickstart runs/vit \\
        --data data/glyphs

Without --runs, networks of the named backbones with random weights, images of 112x112 with three channels
and embeddings of 512: size and speed. With --runs, trained ones: their accuracy on DATA/pairs.bin as well, in
8 bits calibrated by images of DATA/train.rec. One thread; seconds are CPU time of this process, and the three
take turns, so that a machine that does other things too gives about the figures of an idle one. A row that
the output has already is not measured again.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import table
import torch

from partialfc.backbones import build_backbone
from partialfc.data.sources.source import open_source
from partialfc.deploy.export.card import with_interface
from partialfc.deploy.export.graph import Graph, interface
from partialfc.deploy.export.int8 import calibration, quantised
from partialfc.deploy.export.measure import Measuring, measure
from partialfc.deploy.export.onnx_file import onnx_of, write_onnx
from partialfc.deploy.opened.onnx_backbone import OnnxBackbone
from partialfc.deploy.saved_network import SavedNetwork
from partialfc.serving.onnx_model import OnnxModel
from partialfc.trained import Trained, card_of, load_trained

SIZES = {"embedding_size": 512, "image_size": 112, "channels": 3}
BACKBONES = ("iresnet50", "mobilefacenet", "vargfacenet", "vit_tiny", "convnet")
FORMS = ("torch", "onnx", "int8")
BATCH, CALIBRATION = 8, 64


def random_network(name: str) -> Trained:
    torch.manual_seed(0)
    saved = SavedNetwork(step=0, name=name, options={}, amp=None, channels_last=False, **SIZES)
    network = build_backbone(name, **SIZES).eval()
    return Trained(checkpoint=Path(name), step=0, backbone=network, num_classes=0, saved=saved, **SIZES)


def measured(name: str, trained: Trained, data: Path | None, rounds: int) -> list[table.Row]:
    how = interface(pixels=True, channels_last=False, flip="none", unit=True)
    graph, card = Graph(trained, how), card_of(trained)
    model = onnx_of(graph)
    if data is None:
        batches = [graph.examples(16, seed=seed).numpy() for seed in range(CALIBRATION // 16)]
    else:
        batches = calibration(graph, open_source(data / "train.rec"), count=512)
    small = quantised(model, batches)
    with tempfile.TemporaryDirectory() as folder:
        paths = {"onnx": Path(folder) / "a.onnx", "int8": Path(folder) / "b.onnx"}
        for form, each in (("onnx", model), ("int8", small)):
            write_onnx(each, paths[form], with_interface(card, how))
        sizes = {form: path.stat().st_size for form, path in paths.items()}
        sizes["torch"] = sum(tensor.nbytes for tensor in trained.backbone.state_dict().values())
        images = graph.examples(BATCH)
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        models = {form: OnnxModel(path, threads=1) for form, path in paths.items()}
        calls: dict[str, Callable[[], object]] = {
            "torch": lambda: graph.rows(images),
            "onnx": lambda: models["onnx"].rows(pixels),
            "int8": lambda: models["int8"].rows(pixels),
        }
        seconds = medians([calls[form] for form in FORMS], rounds)
        accuracies: dict[str, table.Row] = {form: {} for form in FORMS}
        if data is not None:
            pairs = Measuring(sets={"pairs": data / "pairs.bin"}, replicates=0)
            for form, path in paths.items():
                result = measure(OnnxBackbone(path, threads=1), card, pairs).results["pairs"]
                accuracies[form] = {"accuracy": round(result.accuracy, 5), "eer": round(result.eer, 5)}
    return [
        {
            "network": name,
            "backbone": card.backbone,
            "form": form,
            "image_size": trained.image_size,
            "bytes": sizes[form],
            "batch": BATCH,
            "images_per_s": table.rounded(BATCH / taken),
            **accuracies[form],
            **table.surroundings(),
        }
        for form, taken in zip(FORMS, seconds, strict=True)
    ]


def medians(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """CPU seconds of each, taking turns after one turn that is not counted."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds + 1):
        for call, taken in zip(calls, seconds, strict=True):
            started = time.process_time()
            call()
            if turn:
                taken.append(time.process_time() - started)
    return [statistics.median(taken) for taken in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="*", default=BACKBONES)
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="instead of backbones")
    parser.add_argument("--data", type=Path, default=Path("data/glyphs"), help="of the runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[table.Row] = list(table.read(options.output)) if options.output.exists() else []
    done = {row["network"] for row in rows}
    for name in [run.name for run in options.runs] if options.runs else options.backbones:
        if name in done:
            continue
        if options.runs:
            run = next(run for run in options.runs if run.name == name)
            found = measured(name, load_trained(run), options.data, options.rounds)
        else:
            found = measured(name, random_network(name), None, options.rounds)
        for row in found:
            accuracy = f", accuracy {row['accuracy']:.2%}" if "accuracy" in row else ""
            print(
                f"{name} {row['form']}: {row['bytes'] / 1e6:.2f} MB, {row['images_per_s']} images/s{accuracy}"
            )
        rows += found
        table.write(options.output, rows)


if __name__ == "__main__":
    main()
