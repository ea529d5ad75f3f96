"""The `partialfc plot reject` command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partialfc.cli.arguments import MAX_PIXELS, AsJson, Device, MaxPixels, QualityBy, Score, Trust
from partialfc.errors import ConfigError, DataError
from partialfc.files import json_text

if TYPE_CHECKING:
    import numpy as np

SHARES = (0.0, 0.1, 0.3)


def require_different(runs: Sequence[Path]) -> None:
    """ConfigError where the same folder is there twice, whose curves would lie on each other."""
    there = [run.resolve() for run in runs]
    for run, place in zip(runs, there, strict=True):
        if there.count(place) > 1:
            raise ConfigError(f"RUNS has {run} {there.count(place)} times; give each run once")


def require_impostors(option: str, fmr: float, same: "np.ndarray", pairs: Path) -> None:
    """ConfigError where the share `fmr` of the impostor pairs is not even one of them."""
    from partialfc.evaluation.scores.all_pairs import allowed_at

    count = int((~same).sum())
    if allowed_at(fmr, count) < 1:
        least = f"at least {1 / count:.1g}" if count else "another pair file"
        raise ConfigError(
            f"{option} is {fmr:g}: of the {count:,} impostor pairs of {pairs} not one may be accepted; take "
            f"{least}, or give more pairs"
        )


def reject(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs or checkpoints.", show_default=False)],
    pairs: Annotated[Path, typer.Option(help="Pair file, as evaluate takes.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="PNG file to write; default: reject.png in the first run's folder.")
    ] = None,
    by: Annotated[QualityBy, typer.Option(help="Quality, as the command quality's.")] = "auto",
    score: Annotated[Score, typer.Option(help="How pairs are matched, as evaluate's.")] = "auto",
    fmr: Annotated[float, typer.Option(help="False match rate that sets the threshold.")] = 1e-3,
    up_to: Annotated[float, typer.Option(help="Largest share of pairs that is rejected.")] = 0.95,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 256,
    max_pixels: MaxPixels = MAX_PIXELS,
    device: Device = "auto",
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Draw how the error falls as the images of the worst quality are rejected, by run and quality."""
    from partialfc.cli.run_names import names_of
    from partialfc.cli.values import require_rates
    from partialfc.data.pairs.files import read_pairs, require_images
    from partialfc.deploy.reject import reject_curves
    from partialfc.deploy.trained import load_trained
    from partialfc.distributed.device import local_device
    from partialfc.plot.reject_picture import draw_reject
    from partialfc.report.figure import check_picture

    check_picture("--output", output)
    require_rates("--up-to", [up_to])
    require_rates("--fmr", [fmr])
    require_different(runs)
    target = local_device(device, name="--device")
    pair_set = read_pairs(pairs)
    require_impostors("--fmr", fmr, pair_set.same, pairs)
    trained = {name: load_trained(run, trust=trust or ()) for name, run in names_of(runs).items()}
    for each in trained.values():
        (each.probabilistic or each.backbone).to(target)
    try:
        require_images(pair_set, max_pixels=max_pixels)
        curves = reject_curves(
            trained,
            pair_set,
            by=by,
            score=score,
            fmr=fmr,
            batch_size=batch_size,
            device=target,
            max_pixels=max_pixels,
        )
    except DataError as error:
        raise DataError(f"{pairs}: {error}") from error
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{pairs}: {error}") from error
    picture = draw_reject(curves, output or runs[0] / "reject.png", fmr=fmr, up_to=up_to)
    areas = {name: curve.area(up_to) for name, curve in curves.items()}
    if as_json:
        print(json_text({"fmr": fmr, "up_to": up_to, "areas": areas, "picture": str(picture)}))
        return
    for name, curve in curves.items():
        errors = ", ".join(f"{curve.at(share):.2%} at {share:.0%}" for share in SHARES)
        print(f"{name:<32}area {areas[name]:.4f}   FNMR {errors} rejected")
    print(picture)
