"""The arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

ConfigFile = Annotated[Path, typer.Argument(help="YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="section.key=value, as many as you like.", show_default=False)
]
Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="Folder of a run or of one checkpoint, a folder or file that export wrote, InsightFace's "
        "backbone.pth, or an .onnx.",
        show_default=False,
    ),
]
BackboneName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which network a file of weights is of, where its tensors do not tell, such as iresnet50.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="MODULE",
        help="Module of a backbone of your own, which may be imported for the checkpoint that names it; "
        "as often as you like.",
        show_default=False,
    ),
]
ClassDepth = Annotated[
    int,
    typer.Option(
        min=0,
        help="Levels from the image folder to the class folders, 0: on any level, as data.class_depth.",
    ),
]
ImageSource = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Images with classes, as data.train: a folder, FOLDER/class/image.jpg, a .rec file, a text "
        "list, tar shards, parquet; of several, classes with the same name are one.",
        show_default=False,
    ),
]
ListRoot = Annotated[
    Path | None,
    typer.Option(help="Folder that the paths of a text list are relative to, as data.root."),
]
Only = Annotated[
    Path | None,
    typer.Option(help="File with the key of an image on each line: take no others, as data.only."),
]
LeaveOut = Annotated[
    Path | None, typer.Option(help="File with the keys of images that are not taken, as data.leave_out.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that decode. Default: one a core, none where images are few."),
]
MaxPixels = Annotated[
    int, typer.Option(min=1, help="Refuse images whose header claims more pixels, as data.max_pixels.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, or the accelerator's name, such as cuda or xpu.")]
Score = Literal["auto", "cosine", "mls"]
Video = Literal["embeddings", "scores"]
Flip = Literal["none", "sum", "concat"]
Amp = Literal["run", "auto", "bfloat16", "float16", "none"]
QualityBy = Literal["auto", "norm", "pfe"]
MAX_PIXELS = 64_000_000  # data.max_pixels where it is not set
Picture = Annotated[Path, typer.Argument(help="PNG file to write.", show_default=False)]
