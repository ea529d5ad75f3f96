"""The `partialfc data align` command."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from partialfc.cli.arguments import MAX_PIXELS, MaxPixels


def align(
    photos: Annotated[Path, typer.Argument(help="Folder of photos, of any depth.")],
    out: Annotated[Path, typer.Argument(help="Folder for the crops, in the same folders, and align.csv.")],
    landmarks: Annotated[
        Path | None, typer.Option(help="CSV or JSON file with the five landmarks of each face.")
    ] = None,
    detector: Annotated[
        Literal["yunet", "mtcnn"] | None,
        typer.Option(help="Find them with OpenCV's YuNet (--model), or MTCNN of facenet-pytorch."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="YuNet's model file (.onnx).")] = None,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="How sure the detector must be of a face.")
    ] = 0.7,
    size: Annotated[str, typer.Option(help="Of the crops, in pixels: 112, or WIDTHxHEIGHT.")] = "112",
    none: Annotated[
        Literal["skip", "centre", "error"],
        typer.Option(help="A photo without a face: left out, its middle cropped, or an error."),
    ] = "skip",
    several: Annotated[
        Literal["largest", "centre", "all", "error"],
        typer.Option(help="A photo with several: the largest, the one in the middle, all, or an error."),
    ] = "largest",
    format: Annotated[Literal["jpg", "png"], typer.Option(help="Of the crops.")] = "jpg",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG.")] = 95,
    max_bad: Annotated[
        int, typer.Option(min=0, help="How many photos may be damaged; more are an error in the end.")
    ] = 0,
    max_pixels: MaxPixels = MAX_PIXELS,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes. Default: one a core, none for few photos.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the crops of an earlier call, and make the others.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the crops of an earlier call.")
    ] = False,
) -> None:
    """Crop faces so that eyes, nose and mouth lie where face recognition expects them."""
    from partialfc.cli.bars import stages
    from partialfc.data.align.folder import align_folder, list_photos
    from partialfc.data.align.photo import Cropping
    from partialfc.data.align.template import read_size
    from partialfc.files import require_folder

    require_folder("OUT", out)
    cropping = Cropping(
        size=read_size(size),
        none=none,
        several=several,
        format=format,
        quality=quality,
        max_pixels=max_pixels,
    )
    listed = list_photos(photos)
    finder, found_by = _finder(landmarks, detector, model, min_score, photos=listed)
    with stages() as progress:
        summary = align_folder(
            photos,
            out,
            photos=listed,
            finder=finder,
            cropping=cropping,
            found_by=found_by,
            max_bad=max_bad,
            workers=_workers(len(listed)) if workers is None else workers,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
    outcomes = ", ".join(f"{count:,} {name}" for name, count in sorted(summary.outcomes.items()))
    kept = f", {summary.kept:,} of them done before" if summary.kept else ""
    print(f"{out}: {summary.crops:,} crops of {len(listed):,} photos ({outcomes}){kept}; see align.csv")


def _finder(
    landmarks: Path | None, detector: str | None, model: Path | None, min_score: float, *, photos: list[str]
) -> tuple[Any, dict[str, Any]]:
    """What finds faces, and what the settings say of it."""
    import logging

    from partialfc.data.align.detectors import Detector, YuNet
    from partialfc.data.align.landmark_file import LandmarkFile
    from partialfc.errors import ConfigError

    log = logging.getLogger(__name__)
    if (landmarks is None) == (detector is None):
        raise ConfigError("give either --landmarks FILE or --detector yunet | mtcnn")
    if (model is not None) != (detector == "yunet"):
        raise ConfigError("--detector yunet needs --model FILE, the network; nothing else takes it")
    if landmarks is not None:
        listed = LandmarkFile(landmarks)
        if missing := listed.require_some(photos, landmarks):
            log.warning("%s: %d photos are not listed", landmarks, missing)
        if unused := listed.without_photo(photos):
            log.warning(
                "%s: lists %d photos that are not in the folder, such as %s; they are left out",
                landmarks,
                len(unused),
                ", ".join(unused[:3]),
            )
        return listed, {"landmarks": str(landmarks)}
    settings = {"detector": detector, "model": model and str(model), "min_score": min_score}
    if model is not None:
        network = YuNet(model)
        network()  # a model that cannot be used is told at once
        return Detector(network, min_score=min_score), settings
    from partialfc.data.align.mtcnn import Mtcnn

    mtcnn = Mtcnn()
    mtcnn()
    return Detector(mtcnn, min_score=min_score), settings


def _workers(photos: int) -> int:
    """One process a core, where there is enough to do for them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, photos // 50)
