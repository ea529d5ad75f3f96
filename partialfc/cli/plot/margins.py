"""The `partialfc plot margins` command."""

from partialfc.cli.arguments import Picture


def margins(output: Picture) -> None:
    """Draw every margin: its logits against the angle, and its boundaries between two classes."""
    from partialfc.plot.margins_picture import draw_margins
    from partialfc.report.figure import check_picture

    check_picture("OUTPUT", output)
    print(draw_margins(output))
