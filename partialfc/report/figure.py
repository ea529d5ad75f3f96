"""Figures: drawn with matplotlib, which the extra `plot` installs, and written as PNG files."""

from io import BytesIO
from pathlib import Path
from typing import Any

from partialfc.errors import MissingExtraError, installing
from partialfc.files import replacing_output, require_file


def check_picture(option: str, output: Path | None) -> None:
    """Before any work is done: `output` is None, or a .png file that can be written and drawn.

    Raises ConfigError, or MissingExtraError without matplotlib.
    """
    if output is None:
        return
    require_file(option, output, suffix=".png")
    _figure_class()


def empty_figure(*, width: float, height: float) -> Any:
    """A figure of that size in inches, without axes. MissingExtraError without matplotlib."""
    return _figure_class()(figsize=(width, height), layout="constrained")


def new_figure(columns: int, *, width: float, height: float) -> tuple[Any, Any]:
    """A figure of that size in inches, and its axes [columns]. MissingExtraError without matplotlib."""
    figure = empty_figure(width=width, height=height)
    return figure, figure.subplots(1, columns)


def save_picture(figure: Any, output: Path) -> Path:
    """Write a figure to the PNG `output`, which is returned. ConfigError where it cannot be written.

    In a palette of 256 colours, which takes a third of the bytes.
    """
    from PIL import Image  # which comes with matplotlib

    drawn = BytesIO()
    figure.savefig(drawn, dpi=110, format="png")
    with replacing_output(output, "picture") as beside:
        Image.open(drawn).convert("RGB").quantize(256).save(beside, format="png", optimize=True)
    return output


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure  # not pyplot, which keeps every figure until it is closed
    except ImportError as error:
        raise MissingExtraError(
            f"pictures are drawn with matplotlib, which is not installed: {installing('plot')}"
        ) from error
    return Figure
