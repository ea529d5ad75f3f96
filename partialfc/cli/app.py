"""The `partialfc` command."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.doctor import doctor
from partialfc.cli.plan import plan
from partialfc.errors import ConfigError, DataError, PartialFCError

app = typer.Typer(
    name="partialfc",
    help="Train classifiers with millions of classes: sharded, sampled, exact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Make and pack data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

ConfigFile = Annotated[Path, typer.Argument(help="YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="section.key=value, any number.", show_default=False)
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from partialfc import __version__

        print(f"partialfc {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def train(config: ConfigFile, overrides: Overrides = None) -> None:
    """Train what CONFIG describes; run again after an interruption, it resumes.

    One process alone, or one a GPU: torchrun --nproc-per-node N -m partialfc train CONFIG.
    """
    from partialfc.config import load_config
    from partialfc.training.loop import train as run

    if stopped_by := run(load_config(config, overrides or [])):
        raise typer.Exit(128 + stopped_by)  # as a shell reports it: 143 for SIGTERM, 130 for Ctrl-C


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder, or one checkpoint.")],
    pairs: Annotated[Path, typer.Option(help="Pair file: .bin as InsightFace's, or a text list.")],
    folds: Annotated[int, typer.Option(help="Folds of the cross-validated threshold.")] = 10,
    flip: Annotated[bool, typer.Option(help="Add the embedding of the mirrored image.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images per forward pass.")] = 256,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Verify pairs of images with the backbone of a checkpoint."""
    from partialfc.data.pairs.files import read_pairs
    from partialfc.deploy.trained import load_trained
    from partialfc.distributed.device import local_device
    from partialfc.distributed.world import World
    from partialfc.evaluation.evaluate import evaluate_pairs

    pair_set = read_pairs(pairs)
    trained = load_trained(checkpoint)
    target = local_device(device)
    try:
        result, _ = evaluate_pairs(
            trained.backbone.to(target),
            pair_set,
            World.of(),
            embedding_size=trained.embedding_size,
            image_size=trained.image_size,
            channels=trained.channels,
            batch_size=batch_size,
            device=target,
            folds=folds,
            flip=flip,
        )
    except DataError as error:
        raise DataError(f"{pairs}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{pairs}: {error}") from error
    print(json.dumps(result.to_dict()) if as_json else result.describe())


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    output: Annotated[Path | None, typer.Option(help="PNG file; default: report.png in the run.")] = None,
) -> None:
    """Sum up a run, and draw its loss, its target angles and the ROC of each verification set."""
    from partialfc.report.figure import check_picture
    from partialfc.report.run_picture import draw_report, summarise

    check_picture("--output", output)
    drawn = draw_report(run, output or run / "report.png")
    print(summarise(run))
    print(f"{'picture':<16}{drawn}")


@app.command()
def config(
    file: Annotated[Path | None, typer.Argument(help="YAML file to check.", show_default=False)] = None,
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema for editors.")] = False,
) -> None:
    """Check a config and print it resolved, or print the schema of all configs."""
    from partialfc.config import config_schema, dump_config, load_config

    if schema:
        print(json.dumps(config_schema(), indent=2))
    elif file is None:
        raise typer.BadParameter("give a config file, or --schema")
    else:
        print(dump_config(load_config(file, overrides or [])), end="")


app.command()(plan)
app.command()(doctor)


@data_app.command()
def glyphs(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    fonts: Annotated[list[Path] | None, typer.Option(help="Folder of fonts; may be repeated.")] = None,
    size: Annotated[int, typer.Option(help="Height and width in pixels.")] = 32,
    min_faces: Annotated[int, typer.Option(help="Font faces that must draw a character.")] = 8,
    holdout: Annotated[int, typer.Option(help="Characters kept out of training, for verification.")] = 500,
    pairs: Annotated[int, typer.Option(help="Verification pairs, half of them genuine.")] = 12_000,
    colour: Annotated[bool, typer.Option(help="RGB with random ink and paper.")] = False,
    jitter: Annotated[float, typer.Option(help="Random size, place, angle and levels: 0 to 1.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed and fonts, same bytes.")] = 0,
) -> None:
    """Render a many-class data set from fonts: one class a character, one image a font face."""
    from partialfc.data.glyphs.build import build_glyphs
    from partialfc.training.progress import stages

    with stages() as progress:
        made = build_glyphs(
            out,
            fonts=fonts or (),
            size=size,
            min_faces=min_faces,
            holdout=holdout,
            pairs=pairs,
            colour=colour,
            jitter=jitter,
            seed=seed,
            progress=progress,
        )
    print(
        f"{out}: {made.images:,} images of {made.characters:,} characters from {made.faces} font faces, "
        f"{made.pairs:,} pairs of {made.held_out:,} other characters, in {made.seconds:.0f} s"
    )
    print("dropped: " + ", ".join(f"{count:,} {what}" for what, count in made.dropped.items()))


@data_app.command()
def pack(
    folder: Annotated[Path, typer.Argument(help="Image folder: FOLDER/class/image.jpg.")],
    out: Annotated[Path, typer.Argument(help="Folder to write train.rec, .idx and classes.txt into.")],
) -> None:
    """Pack an image folder into RecordIO, as InsightFace lays it out; the encoded images stay as they are."""
    from partialfc.data.sources.pack import pack_folder

    packed = pack_folder(folder, out)
    print(f"{packed.path}: {packed.images:,} images of {packed.classes:,} classes")


@data_app.command("pairs")
def make_pair_file(
    source: Annotated[Path, typer.Argument(help="A .rec file or an image folder.")],
    out: Annotated[Path, typer.Argument(help="Pair file to write (.bin).")],
    pairs: Annotated[int, typer.Option(help="How many, half of them genuine.")] = 6000,
    seed: Annotated[int, typer.Option(help="Same seed, same pairs.")] = 0,
) -> None:
    """Draw verification pairs from labelled images, best of classes that training never sees."""
    from partialfc.data.pairs.draw import make_pairs
    from partialfc.data.pairs.files import write_pairs
    from partialfc.data.sources.source import open_source

    drawn = make_pairs(open_source(source), pairs=pairs, seed=seed)
    write_pairs(out, drawn)
    print(f"{out}: {len(drawn.same):,} pairs, {int(drawn.same.sum()):,} genuine")


def main() -> None:
    """Runs the command; an error of ours is one line on stderr and exit code 1."""
    rank = os.environ.get("RANK")
    prefix = "" if rank is None else f"[rank {rank}] "
    logging.basicConfig(level=logging.INFO, format=f"{prefix}%(levelname)s: %(message)s")
    try:
        app()
    except PartialFCError as error:
        print(f"{prefix}partialfc: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
