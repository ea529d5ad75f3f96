"""The `partialfc` command: its commands put together, and what an error looks like."""

import gc
import logging
import os
import sys
from typing import Annotated

import typer

from partialfc.cli.backbones import backbones
from partialfc.cli.compare import compare
from partialfc.cli.config import config
from partialfc.cli.data.align import align
from partialfc.cli.data.check import check
from partialfc.cli.data.clean import clean
from partialfc.cli.data.glyphs import glyphs
from partialfc.cli.data.pack import pack
from partialfc.cli.data.pairs import pairs
from partialfc.cli.data.show import show
from partialfc.cli.data.split import split
from partialfc.cli.data.stats import stats
from partialfc.cli.doctor import doctor
from partialfc.cli.embed import embed
from partialfc.cli.evaluate import evaluate
from partialfc.cli.export import export
from partialfc.cli.gallery import gallery_app
from partialfc.cli.init import init
from partialfc.cli.plan import plan
from partialfc.cli.plot.angles import angles
from partialfc.cli.plot.embeddings import embeddings
from partialfc.cli.plot.margins import margins
from partialfc.cli.plot.occlusion import occlusion
from partialfc.cli.plot.reject import reject
from partialfc.cli.quality import quality
from partialfc.cli.report import report
from partialfc.cli.serve import serve
from partialfc.cli.train import train
from partialfc.cli.usage import Commands
from partialfc.errors import PartialFCError, printable, tell
from partialfc.files import OF_DISKS, discard, told

app = typer.Typer(
    name="partialfc",
    cls=Commands,
    help="Train classifiers with millions of classes: sharded, sampled, exact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Check, make and pack data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(gallery_app, name="gallery")
plot_app = typer.Typer(
    help="Draw margins, embeddings, angles and what rejecting bad images gains.", no_args_is_help=True
)
app.add_typer(plot_app, name="plot")


def _print_version(wanted: bool) -> None:
    if wanted:
        from partialfc import __version__

        print(f"partialfc {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


app.command()(init)
app.command()(train)
app.command()(evaluate)
app.command()(compare)
app.command()(embed)
app.command()(quality)
app.command()(export)
app.command()(report)
app.command()(serve)
app.command()(config)
app.command()(plan)
app.command()(backbones)
app.command()(doctor)
data_app.command()(check)
data_app.command()(stats)
data_app.command()(show)
data_app.command()(split)
data_app.command()(clean)
data_app.command()(glyphs)
data_app.command()(pack)
data_app.command()(pairs)
data_app.command()(align)
plot_app.command()(margins)
plot_app.command()(embeddings)
plot_app.command()(angles)
plot_app.command()(reject)
plot_app.command()(occlusion)


def main() -> None:
    """Run the command; an error of the package's own or of a file is short on stderr, and the status is 1."""
    status = _status()
    gc.collect()  # an error is forgotten by now; what it kept alive, such as a group's threads, ends
    sys.exit(status)


class _Printable(logging.Formatter):
    """Log lines, in which the name of a file or of a class does not steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), but="\n\t")


def _status() -> int | str | None:
    rank = os.environ.get("RANK")
    prefix = "" if rank is None else f"[rank {rank}] "
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable(f"{prefix}%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        try:
            app()
        finally:
            _flush()
    except SystemExit as end:
        return end.code
    except PartialFCError as error:
        tell(f"{type(error).__name__}: {error}")
    except BrokenPipeError:  # such as `| head`
        discard(sys.stdout)
    except Exception as error:
        if isinstance(error, OSError) and (error.filename or error.errno in OF_DISKS):
            what = "" if error.filename else "the output: "
            tell(f"{what}{told(error)}")
        elif isinstance(error, ModuleNotFoundError) and error.name == "torch":
            tell("MissingExtraError: this command needs PyTorch: pip install torch")
        else:  # nothing that a user could look at
            sys.excepthook(*sys.exc_info())
    return 1


def _flush() -> None:
    """Write what was printed; where that fails, it is not tried again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        discard(sys.stdout)
        raise
